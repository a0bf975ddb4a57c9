#pragma once
// `slipway.channels` of the configuration file. Plain values: any thread.

#include <cstdint>
#include <string>
#include <vector>

#include "channel/hosted_channel.h"
#include "edge/auth_jwt.h"
#include "frame/name.h"

namespace slipway {

// The node's own channels, and who it is as their moderator.
struct ChannelSettings {
  bool on = false;
  TextName name;                   // of the node as an application
  std::string secret_file;         // shared secret; empty: JWT
  std::string subject;             // shared secret: the whole id instead of one that is made
  std::string private_key_file;    // of its signatures and leaves; empty: made, and kept in the store
  AuthKeySource token_key;         // JWT: signs the node's tokens
  JwtClaims token;                 //   and what they say
  AuthKeySource verify_key;        // JWT: checks those of others
  JwtRules verify;
  std::string binding;             // off, warn, enforce
  std::string store_file;          // empty: channels end with the node
  std::string key_file;            // seals the store
  std::uint32_t limit = 1'024;
  bool file_managed = false;       // `hosted` is there: it is all there is
  std::vector<HostedChannel> hosted;
  std::string written;             // the whole section: another text needs a restart
  int line = 0;
};

}  // namespace slipway

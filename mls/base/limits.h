// Every bound of the MLS module. A caller may set each of them, up or down, and passes its Limits
// to the decoders and to a group; the defaults suit groups of up to 65,536 members.
#pragma once

#include <cstddef>
#include <cstdint>

namespace slipway::mls {

struct Limits {
  // Bytes of one input, checked before anything is parsed.
  size_t application_message_bytes = size_t{2} << 20;
  size_t handshake_message_bytes = size_t{16} << 20;  // also GroupInfo, Welcome, ratchet tree

  // Structures.
  size_t tree_leaves = 65'536;
  size_t group_id_bytes = 255;          // of a group of ours; the codec takes any length
  size_t credential_bytes = 16'384;
  size_t extensions = 64;               // per list
  size_t capability_entries = 256;      // per list of Capabilities or RequiredCapabilities
  size_t external_senders = 256;
  size_t signature_bytes = 256;
  size_t public_key_bytes = 256;        // of any key in a structure; exact lengths by suite later
  size_t path_nodes = 32;               // direct path of the largest tree, with room
  size_t path_ciphertexts = 65'536;     // per path node
  size_t welcome_secrets = 65'536;      // joiners per Welcome

  // Proposals.
  size_t proposals_per_commit = 65'536;
  size_t proposals_per_epoch = 4'096;   // waiting
  size_t proposals_per_sender = 64;     // waiting
  size_t psks_per_commit = 64;

  // Secret tree.
  size_t generations_ahead = 1'024;
  size_t skipped_per_ratchet = 1'024;
  size_t skipped_per_epoch = 16'384;

  // Epochs kept after they have ended.
  size_t past_epochs = 3;               // for delayed application messages
  size_t resumption_epochs = 3;         // resumption PSKs
};

inline constexpr Limits kDefaultLimits{};

static_assert(kDefaultLimits.skipped_per_ratchet <= kDefaultLimits.skipped_per_epoch);
static_assert(kDefaultLimits.application_message_bytes <= kDefaultLimits.handshake_message_bytes);
static_assert(kDefaultLimits.handshake_message_bytes < (size_t{1} << 30),
              "a vector header cannot say more (RFC 9420, 2.1.2)");

}  // namespace slipway::mls

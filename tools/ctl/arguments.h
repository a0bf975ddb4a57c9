#pragma once
// The command line, parsed. One struct for all verbs: each reads what is its own.

#include <cstdint>
#include <string>
#include <vector>

#include "context.h"

namespace slipway::ctl {

struct Arguments {
  Context context;

  // Questions to the node
  std::string name;             // explain, routes, trace, capture, route add|del
  std::uint32_t from = 0;       // explain
  std::uint32_t hop_limit = 0;  // explain; 0: a fresh frame's
  std::uint32_t after = 0;      // links, routes
  std::uint32_t limit = 0;      // links, routes; 0: the node's default
  std::uint32_t link = 0;       // routes, trace, capture, close
  std::uint32_t count = 0;      // trace, capture, top, sub, pub, bench
  std::string kind;             // trace, capture
  bool drops_only = false;      // trace, capture
  std::uint32_t seconds = 0;    // trace, capture, sub
  std::uint32_t snap_bytes = 0; // capture
  std::uint64_t limit_bytes = 0;
  std::string output;           // capture
  std::string to;               // route add|del
  std::string level;            // log-level
  std::int64_t drain_ms = -1;   // stop; -1: as configured
  double interval = 1;          // top
  std::string shell;            // completion
  std::string config;           // preflight

  // doctor; how to connect: session too
  std::string endpoint;
  std::string ca_file;
  std::string certificate_file;
  std::string key_file;
  std::string server_name;
  std::string basic_file;
  std::string token_file;
  bool insecure = false;
  bool native = false;
  bool no_mac = false;

  // pub, sub
  std::vector<std::string> names;
  std::string payload;
  std::string from_name;
  bool all = false;
  bool lines = false;
  bool exact = false;
  bool echo = false;
  bool raw = false;
  std::uint32_t wait_ms = 200;
  std::uint32_t size = 0;

  // session
  std::string secret_file;
  std::string jwt_key;
  std::vector<std::string> jwt_trust;
  std::string jwt_algorithm = "ES256";
  std::string jwt_subject;
  std::string jwt_issuer;
  std::vector<std::string> jwt_audiences;
  std::uint32_t jwt_seconds = 3'600;
  std::vector<std::string> also;  // further nodes
  std::string answer;            // listen: prefix of answers; empty: none
  std::string until;             // listen: a message that ends it
  bool once = false;             // listen: ends with the first session
  bool quiet = false;            // messages are counted, not printed
  bool no_mls = false;
  bool best_effort = false;
  std::uint32_t ack_ms = 1'000;  // between two transmissions
  std::uint32_t retries = 10;
  std::uint32_t answers = 0;     // that each message waits for
  std::string last;              // said at the end

  // channel; no_mls as above
  std::string participant;

  // bench
  std::string pattern = "1:1";
  double duration = 5;
  double rate = 0;
  std::uint32_t window = 1;
  std::uint64_t messages = 0;
  bool csv = false;
  bool anycast = false;
};

}  // namespace slipway::ctl

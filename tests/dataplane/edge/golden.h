#pragma once
// The conversation of upstream-node 9: keys, names and identities are fixed, and every MAC can be computed again.

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "edge/mac.h"

namespace slipway::golden {

using Bytes = std::vector<std::byte>;

inline int hex_digit(char c) { return c >= 'a' ? c - 'a' + 10 : c - '0'; }

// Hex digits with any white space between them.
inline Bytes from_hex(std::string_view text) {
  Bytes bytes;
  int high = -1;
  for (const char c : text) {
    if (c == ' ' || c == '\n') {
      continue;
    }
    if (high < 0) {
      high = hex_digit(c);
    } else {
      bytes.push_back(static_cast<std::byte>(high * 16 + hex_digit(c)));
      high = -1;
    }
  }
  return bytes;
}

// From tests/vectors/edge/golden.txt. No test means anything without it.
inline Bytes load(std::string_view name) {
  std::ifstream file(EDGE_VECTORS "/golden.txt");
  std::string word;
  std::string hex;
  while (file >> word) {
    if (word.starts_with('#')) {
      std::getline(file, hex);
    } else if (file >> hex && word == name) {
      return from_hex(hex);
    }
  }
  std::fprintf(stderr, "%s/golden.txt has no %.*s\n", EDGE_VECTORS, static_cast<int>(name.size()), name.data());
  std::abort();
}

inline constexpr std::string_view kLinkId = "00000000-0000-4000-8000-000000000001";
inline const Bytes kLinkKey = load("link_key");
inline const Bytes kNegotiationRequest = load("negotiation_request");
inline const Bytes kNegotiationReply = load("negotiation_reply");
inline const Bytes kSubscribe = load("subscribe");
inline const Bytes kUnsubscribe = load("unsubscribe");
inline const Bytes kAck = load("ack");
inline const Bytes kAckFailure = load("ack_failure");
inline const Bytes kPublish = load("publish");
inline const Bytes kDelivered = load("delivered");  // kPublish as the node hands it on, having got it from its connection 5

inline LinkKey link_key() { return LinkKey(std::span<const std::byte, kLinkKeyBytes>(kLinkKey.data(), kLinkKeyBytes)); }
inline HeaderMac header_mac() { return {link_key(), kLinkId}; }

}  // namespace slipway::golden

#pragma once
// The conversation of upstream-node 9 as bytes, without the five bytes of gRPC before each message: keys, names and
// identities are fixed, and every MAC can be computed again.

#include <array>
#include <cstddef>
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

inline constexpr std::string_view kLinkId = "00000000-0000-4000-8000-000000000001";
inline constexpr std::string_view kLinkKey = "9ea3a14ce185d4d334458be0309b9137e2b9f3ce0cb1bbe5f981efa800bf010c";

inline LinkKey link_key() {
  const Bytes bytes = from_hex(kLinkKey);
  return LinkKey(std::span<const std::byte, kLinkKeyBytes>(bytes.data(), kLinkKeyBytes));
}
inline HeaderMac header_mac() { return {link_key(), kLinkId}; }

inline const Bytes kNegotiationRequest = from_hex(
    "2a62 0a60 0a24 30303030303030302d303030302d343030302d383030302d303030303030303030303031 1205 322e332e30"
    "2220 07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c 2802 320d 676f6c64656e2d636c69656e74");
inline const Bytes kNegotiationReply = from_hex(
    "2a62 0a60 0a24 30303030303030302d303030302d343030302d383030302d303030303030303030303031 1205 322e332e30 1801"
    "2220 5869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b 2802 320b 676f6c64656e2d6e6f6465");

inline constexpr std::string_view kBob =
    "0a25 08bbacaab7b780969f87 01 10d1a1a6e3a4d3ddfcee01 18c4e795d7b7e886d749 2203 108b16"
    "120e 0a036f7267 12026e73 1a03626f62";

// What S1 and U1 have behind their first byte.
inline const std::string kSubscribeRest =
    "b601 0aa901 0a37" + std::string(kBob) + "1237" + std::string(kBob) + "1a06 69642d626f62 2001 2a05 322e332e30 3008 4800" +
    "5a20 1327db19f162abc6e54617d03ac8222b12147163396c29bcb72e5b8b03882e2d 10 88ef99abc5e88c9111";
inline const Bytes kSubscribe = from_hex("0a" + kSubscribeRest);
inline const Bytes kUnsubscribe = from_hex("12" + kSubscribeRest);
inline const Bytes kAck = from_hex("320c 0888ef99abc5e88c9111 1001");
inline const Bytes kAckFailure =
    from_hex("3222 0888ef99abc5e88c9111 1a16 737562736372697074696f6e206e6f7420666f756e64");

inline const std::string kPublishNames =
    "0a39 0a25 08bbacaab7b780969f8701 10d1a1a6e3a4d3ddfcee01 1882e3daadfa91afc87b 2203109114"
    "1210 0a036f7267 12026e73 1a05616c696365"
    "124a 0a38 08bbacaab7b780969f8701 10d1a1a6e3a4d3ddfcee01 18c4e795d7b7e886d749"
    "2216 08ffffffffffffffffff01 10ffffffffffffffffff01 120e 0a036f7267 12026e73 1a03626f62"
    "1a08 69642d616c696365 2001 2a05 322e332e30";
inline constexpr std::string_view kPublishTail = "1208 0801 1001 182a 2001 1a0e 0a0c 0a036d7367 120568656c6c6f";
inline const Bytes kPublish = from_hex("1add01 0ac001" + kPublishNames + "3008 4800" +
                                       "5a20 d7486e4596074cac60768e265f7ef4080f378ae913eb29f6c74622dc42f66fbe" +
                                       std::string(kPublishTail));
// As the node hands it on, having got it from its connection 5.
inline const Bytes kDelivered = from_hex("1add01 0ac001" + kPublishNames + "3007 4805" +
                                         "5a20 668f53ecff57b2db7bfa78a1ab23d426a61e85844e01199efc212843ffdba58d" +
                                         std::string(kPublishTail));

}  // namespace slipway::golden

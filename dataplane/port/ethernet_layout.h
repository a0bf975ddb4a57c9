#pragma once
// Numbers of the protocols on a DPDK port: offsets inside headers, types, fixed addresses.

#include <cstddef>
#include <cstdint>

#include "port/ip_address.h"

namespace slipway::wire {

inline constexpr std::size_t kEthernetBytes = 14;
inline constexpr std::size_t kTagBytes = 4;
inline constexpr std::size_t kIpv4Bytes = 20;
inline constexpr std::size_t kIpv6Bytes = 40;
inline constexpr std::size_t kUdpBytes = 8;
inline constexpr std::size_t kArpBytes = 28;
inline constexpr std::size_t kNeighborBytes = 24;   // solicitation or advertisement without options
inline constexpr std::size_t kLinkOptionBytes = 8;  // link-layer address option
inline constexpr std::size_t kRouterAlertBytes = 8;   // hop-by-hop header with that option
inline constexpr std::size_t kGroupReportBytes = 8;   // without its records
inline constexpr std::size_t kGroupRecordBytes = 20;  // without sources

inline constexpr std::uint16_t kTypeIpv4 = 0x0800;
inline constexpr std::uint16_t kTypeArp = 0x0806;
inline constexpr std::uint16_t kTypeTag = 0x8100;
inline constexpr std::uint16_t kTypeIpv6 = 0x86DD;

inline constexpr std::uint8_t kIcmp = 1;
inline constexpr std::uint8_t kUdp = 17;
inline constexpr std::uint8_t kIcmp6 = 58;
inline constexpr std::uint8_t kIpv6Fragment = 44;

inline constexpr std::uint8_t kEchoRequest4 = 8;
inline constexpr std::uint8_t kEchoReply4 = 0;
inline constexpr std::uint8_t kEchoRequest6 = 128;
inline constexpr std::uint8_t kEchoReply6 = 129;
inline constexpr std::uint8_t kSolicitation = 135;
inline constexpr std::uint8_t kAdvertisement = 136;
inline constexpr std::uint8_t kGroupReport = 143;  // multicast listener report, version 2
inline constexpr std::uint8_t kOptionSource = 1;
inline constexpr std::uint8_t kOptionTarget = 2;

inline constexpr std::uint8_t kFlagRouter = 0x80;
inline constexpr std::uint8_t kFlagSolicited = 0x40;
inline constexpr std::uint8_t kFlagOverride = 0x20;

inline constexpr std::uint16_t kArpRequest = 1;
inline constexpr std::uint16_t kArpReply = 2;

inline constexpr std::uint8_t kHopLimit = 64;
inline constexpr std::uint8_t kNeighborHopLimit = 255;  // what no router could have passed on

inline constexpr MacAddress kBroadcast{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
inline constexpr MacAddress kAllNodesMac{0x33, 0x33, 0, 0, 0, 1};
inline constexpr MacAddress kReportRoutersMac{0x33, 0x33, 0, 0, 0, 0x16};
inline constexpr IpAddress kReportRouters{.bytes = {0xFF, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16}, .family = 6};
inline constexpr IpAddress kAllNodes{.bytes = {0xFF, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, .family = 6};

}  // namespace slipway::wire

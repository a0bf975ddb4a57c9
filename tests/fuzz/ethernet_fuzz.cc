// Packets of a DPDK port: ARP, neighbour discovery, echo, UDP, tagged or not. Whatever comes is parsed without a step
// outside its bytes; what asks for us gets an answer that fits its room and whose checksums are right; next hops are
// learned only when asked for. Byte 0: options; then the packet. With an option set, checksums are put right first,
// which a fuzzer cannot guess.

#include <cstring>
#include <memory>
#include <vector>

#include "port/checksum.h"
#include "port/ethernet.h"
#include "port/ethernet_layout.h"
#include "port/neighbor.h"
#include "require.h"

namespace {

using namespace slipway;

EthernetPort make_port(unsigned options) {
  EthernetPort port{.number = 1, .mac = {2, 0, 0, 0, 0, 1}, .vlan = static_cast<std::uint16_t>((options & 1) != 0 ? 5 : 0), .udp_port = 46367, .address_count = 2};
  port.addresses[0] = *parse_ip_address("10.1.0.1");
  port.addresses[1] = *parse_ip_address("fd00::1");
  port.unfinished_checksums = (options & 2) != 0;
  return port;
}

struct Layers {
  std::size_t ip = 0;
  std::size_t l4 = 0;
  std::size_t l4_bytes = 0;
  std::uint8_t protocol = 0;
  bool v6 = false;
};

// Where things are, if everything that says so is consistent. Independent of parse_packet.
bool find_layers(std::span<const std::byte> p, Layers& out) {
  if (p.size() < 34) {
    return false;
  }
  out.ip = load_be16(&p[12]) == wire::kTypeTag ? 18 : 14;
  const std::uint16_t type = load_be16(&p[out.ip - 2]);
  out.v6 = type == wire::kTypeIpv6;
  const std::size_t header = out.v6 ? 40 : 20;
  if ((type != wire::kTypeIpv4 && !out.v6) || p.size() < out.ip + header) {
    return false;
  }
  out.l4 = out.ip + header;
  out.protocol = std::to_integer<std::uint8_t>(p[out.ip + (out.v6 ? 6 : 9)]);
  const std::size_t total = load_be16(&p[out.ip + (out.v6 ? 4 : 2)]) + (out.v6 ? 40u : 0u);
  if (total < header || total > p.size() - out.ip) {
    return false;
  }
  out.l4_bytes = total - header;
  return true;
}

std::size_t checksum_at(const Layers& l) { return l.l4 + (l.protocol == wire::kUdp ? 6 : 2); }
std::uint64_t l4_sum(std::span<const std::byte> p, const Layers& l) {
  const bool pseudo = l.v6 || l.protocol == wire::kUdp;
  return add_words(p.subspan(l.l4, l.l4_bytes), pseudo ? pseudo_sum(&p[l.ip], l.v6, l.protocol, static_cast<std::uint32_t>(l.l4_bytes)) : 0);
}

void repair(std::span<std::byte> p) {
  Layers l;
  if (!find_layers(p, l)) {
    return;
  }
  if (!l.v6) {
    std::memset(&p[l.ip + 10], 0, 2);
    const auto sum = static_cast<std::uint16_t>(~fold(add_words(p.subspan(l.ip, 20), 0)));
    std::memcpy(&p[l.ip + 10], &sum, 2);
  }
  if (l.l4_bytes >= 8) {
    std::memset(&p[checksum_at(l)], 0, 2);
    const auto sum = static_cast<std::uint16_t>(~fold(l4_sum(p, l)));
    std::memcpy(&p[checksum_at(l)], &sum, 2);
  }
}

void check_answer(const EthernetPort& port, const Packet& packet, std::span<const std::byte> request) {
  std::vector<std::byte> bytes(request.begin(), request.end());
  bytes.resize(request.size() + kAnswerRoomBytes);
  const std::size_t size = answer_in_place(port, packet, bytes, request.size());
  FUZZ_REQUIRE(size != 0 && size <= bytes.size());
  FUZZ_REQUIRE(std::memcmp(&bytes[6], port.mac.data(), 6) == 0);
  Layers l;
  if (packet.kind == PacketKind::kArp) {
    FUZZ_REQUIRE(size == packet.ip_offset + wire::kArpBytes);
    return;
  }
  FUZZ_REQUIRE(find_layers(std::span(bytes).first(size), l));
  FUZZ_REQUIRE(l.l4 + l.l4_bytes == size);
  FUZZ_REQUIRE(fold(l4_sum(bytes, l)) == 0xFFFF);
  FUZZ_REQUIRE(l.v6 || fold(add_words(std::span(bytes).subspan(l.ip, 20), 0)) == 0xFFFF);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) {
    return 0;
  }
  const unsigned options = data[0];
  const EthernetPort port = make_port(options);
  const std::size_t bytes = size - 1;
  const auto block = std::make_unique<std::byte[]>(bytes);  // of exactly this size
  std::memcpy(block.get(), data + 1, bytes);
  const std::span<std::byte> packet_bytes(block.get(), bytes);
  if ((options & 4) != 0) {
    repair(packet_bytes);
  }
  const PacketHints hints{.ip_good = (options & 8) != 0, .l4_good = (options & 16) != 0, .bad = (options & 32) != 0 && (options & 64) != 0,
                          .stripped = (options & 32) != 0, .vlan = static_cast<std::uint16_t>(options >> 5)};
  const Packet packet = parse_packet(port, packet_bytes, bytes, hints);
  switch (packet.kind) {
    case PacketKind::kDatagram:
      FUZZ_REQUIRE(std::size_t{packet.payload_offset} + packet.payload_bytes <= bytes);
      FUZZ_REQUIRE(packet_destination(packet, block.get()).port == port.udp_port);
      FUZZ_REQUIRE(is_unicast(address_of(packet_source(packet, block.get()))));
      break;
    case PacketKind::kArp:
    case PacketKind::kSolicit:
    case PacketKind::kEcho4:
    case PacketKind::kEcho6:
      if (!hints.ip_good) {
        check_answer(port, packet, packet_bytes);
      }
      break;
    default:
      break;
  }
  Neighbors neighbors(port, {{port.addresses[0], 24}, {port.addresses[1], 64}}, {});
  Neighbors::Output out;
  (void)neighbors.want(*parse_ip_address("10.1.0.9"), 0, out);
  (void)neighbors.want(*parse_ip_address("fd00::9"), 0, out);
  neighbors.packet_in(packet_bytes, 1, out);
  FUZZ_REQUIRE(neighbors.size() == 2 && out.changed.size() <= 1);
  return 0;
}

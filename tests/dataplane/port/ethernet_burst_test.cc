#include <gtest/gtest.h>

#include <random>
#include <set>

#include "mbuf_test.h"
#include "port/ethernet_datapath.h"

namespace slipway {
namespace {

using namespace test;

constexpr std::uint32_t kGeneration = 5;
constexpr LinkIndex kLink = 42;

// A receiver with one link, whose peer is 10.1.0.9 or fd00::9.
class EthernetBurst : public MbufTest {
 protected:
  void SetUp() override {
    links_.resize(kMaxLinks);
    link_counters_ = std::make_unique<LinkCounters[]>(kMaxLinks);
    set_link(false);
  }
  void set_link(bool v6) {
    links_[kLink] = {.index = kLink,
                     .generation = kGeneration,
                     .state = LinkState::kUp,
                     .transport = LinkTransport::kEthernet,
                     .port = 3,
                     .datagram_bytes = datagram_bytes(1500, v6 ? 6 : 4),
                     .check_source_port = false,
                     .peer = make_endpoint(ip(v6 ? "fd00::9" : "10.1.0.9"), 46367)};
  }
  const EthernetReceived& receive(std::span<rte_mbuf* const> packets, std::uint64_t now_ms = 0) {
    ethernet_receive(port_, {links_.data(), link_counters_.get(), &counters_, &joiner_}, packets, now_ms, received_);
    return received_;
  }
  const EthernetReceived& receive(const Bytes& packet, std::uint64_t now_ms = 0) {
    rte_mbuf* mbuf = to_mbuf(packet);
    return receive({&mbuf, 1}, now_ms);
  }
  Bytes with_shim(Shim shim, std::span<const std::byte> piece) {
    Bytes payload(kShimBytes);
    store_shim(payload.data(), shim);
    append(payload, piece);
    return payload;
  }
  Bytes whole(const Bytes& frame, std::uint32_t link_id = make_link_id(kLink, kGeneration)) {
    return with_shim({.link_id = link_id, .total_bytes = static_cast<std::uint32_t>(frame.size())}, frame);
  }
  std::uint64_t drops(DropReason reason) const { return counters_.drops[static_cast<std::size_t>(reason)].get(); }
  void expect_only_drop(DropReason reason) {
    EXPECT_EQ(drops(reason), 1u) << drop_reason_text(reason).name;
    EXPECT_EQ(counters_.packets_dropped.get(), 1u);
    EXPECT_EQ(received_.frame_count + received_.hello_count + received_.reply_count + received_.learn_count, 0u);
  }

  EthernetPort port_ = test_port();
  std::vector<LinkRecord> links_;
  std::unique_ptr<LinkCounters[]> link_counters_;
  WorkerCounters counters_{};
  MbufJoiner joiner_;
  EthernetReceived received_;
};

TEST_F(EthernetBurst, AFrameOfALinkComesOut) {
  const Bytes frame = frame_bytes(300);
  Bytes packet = datagram({}, whole(frame));
  packet.resize(packet.size() + 11);  // padding
  const auto& got = receive(packet);
  ASSERT_EQ(got.frame_count, 1u);
  EXPECT_EQ(to_bytes(got.frames[0]), frame);
  const FrameMeta& meta = frame_meta(got.frames[0]);
  EXPECT_EQ(meta.in_link, kLink);
  EXPECT_EQ(meta.frame_bytes, 300u);
  EXPECT_FALSE(meta.pausable);
  EXPECT_EQ(load_le<std::uint32_t>(data_of(got.frames[0]) - 4), 300u);
  EXPECT_EQ(counters_.packets_in.get(), 1u);
  rte_pktmbuf_free(got.frames[0]);
}

TEST_F(EthernetBurst, RefusesWhatIsNotTheLinks) {
  const auto fresh = [this] { counters_.~WorkerCounters(); new (&counters_) WorkerCounters{}; };
  const Bytes frame = frame_bytes(200);
  receive(datagram({}, whole(frame, make_link_id(kLink, kGeneration + 1))));
  expect_only_drop(DropReason::kUnknownLink);
  fresh();
  receive(datagram({}, whole(frame, make_link_id(kLink + 1, kGeneration))));
  expect_only_drop(DropReason::kUnknownLink);
  fresh();
  receive(datagram({.from = ip("10.1.0.8")}, whole(frame)));
  expect_only_drop(DropReason::kWrongSource);
  EXPECT_EQ(link_counters_[kLink].drops[static_cast<std::size_t>(DropReason::kWrongSource)].get(), 1u);
  fresh();
  links_[kLink].check_source_port = true;
  receive(datagram({}, whole(frame)));
  expect_only_drop(DropReason::kWrongSource);
  fresh();
  links_[kLink].check_source_port = false;
  links_[kLink].port = 4;
  receive(datagram({}, whole(frame)));
  expect_only_drop(DropReason::kWrongSource);
  fresh();
  set_link(false);
  Bytes tagged = whole(frame);
  tagged[30] = std::byte{1};
  receive(datagram({}, tagged));
  expect_only_drop(DropReason::kShimTag);
  fresh();
  receive(datagram({}, std::span(tagged).first(kShimBytes)));
  expect_only_drop(DropReason::kShimMalformed);
  fresh();
  receive(datagram({}, {}));
  expect_only_drop(DropReason::kShimMalformed);
  fresh();
  receive(datagram({}, with_shim({.link_id = make_link_id(kLink, kGeneration), .total_bytes = 100}, frame)));
  expect_only_drop(DropReason::kShimMalformed);
}

TEST_F(EthernetBurst, HellosComeOutWithTheirAddresses) {
  Bytes frame = frame_bytes(200);
  receive(datagram({}, whole(frame, 0)));
  expect_only_drop(DropReason::kUnknownLink);  // a publish without a link
  frame[frame_offset::kKind] = static_cast<std::byte>(FrameKind::kLink);
  const auto& got = receive(datagram({.source_port = 777}, whole(frame, 0)));
  ASSERT_EQ(got.hello_count, 1u);
  EXPECT_EQ(to_bytes(got.hellos[0]), frame);
  EXPECT_EQ(got.hello_from[0].from, make_endpoint(ip("10.1.0.9"), 777));
  EXPECT_EQ(got.hello_from[0].to, make_endpoint(ip("10.1.0.1"), 46367));
  EXPECT_EQ(got.hello_from[0].from_mac, kPeerMac);
  EXPECT_EQ(got.hello_from[0].port, 3);
  rte_pktmbuf_free(got.hellos[0]);
}

TEST_F(EthernetBurst, AnswersAndPuntsNeighbors) {
  rte_mbuf* burst[] = {to_mbuf(arp({0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 1, kPeerMac, ip("10.1.0.9"), ip("10.1.0.1"))),
                       to_mbuf(echo(ip("10.1.0.9"), ip("10.1.0.1"), 56)),
                       to_mbuf(arp(kOurMac, 2, kPeerMac, ip("10.1.0.9"), ip("10.1.0.1"))),
                       to_mbuf(neighbor({0x33, 0x33, 0xFF, 0, 0, 1}, ip("fd00::9"), ip("ff02::1:ff00:1"), 135, 0, ip("fd00::1"), false)),
                       to_mbuf(echo(ip("fd00::9"), ip("fd00::1"), 56))};
  const auto& got = receive(burst);
  EXPECT_EQ(got.reply_count, 4u);
  EXPECT_EQ(got.learn_count, 1u);
  EXPECT_EQ(counters_.packets_answered.get(), 4u);
  EXPECT_EQ(counters_.packets_dropped.get(), 0u);
  EXPECT_EQ(to_bytes(got.replies[2]).size(), 14u + 40 + 32) << "the advertisement is longer than the solicitation";
  rte_pktmbuf_free_bulk(received_.replies.data(), got.reply_count);
  rte_pktmbuf_free_bulk(received_.learns.data(), got.learn_count);
}

TEST_F(EthernetBurst, PutsTheTagOfTheDeviceBackIntoAnswers) {
  port_ = test_port(12);
  Bytes request = arp({0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 1, kPeerMac, ip("10.1.0.9"), ip("10.1.0.1"));
  rte_mbuf* mbuf = to_mbuf(request);
  mbuf->ol_flags = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
  mbuf->vlan_tci = 12;
  const auto& got = receive({&mbuf, 1});
  ASSERT_EQ(got.reply_count, 1u);
  const Bytes reply = to_bytes(got.replies[0]);
  EXPECT_EQ(reply.size(), request.size() + 4);
  EXPECT_EQ(Bytes(reply.begin() + 12, reply.begin() + 18), from_hex("8100 000c 0806"));
  rte_pktmbuf_free(got.replies[0]);
}

TEST_F(EthernetBurst, JoinsPiecesAndKeepsTheOrderOfArrival) {
  const Bytes large = frame_bytes(3000, 1);
  const Bytes small = frame_bytes(200, 2);
  const auto piece = [&](std::uint32_t offset, std::uint32_t bytes) {
    return datagram({}, with_shim({.link_id = make_link_id(kLink, kGeneration),
                                   .fragment_offset = offset,
                                   .total_bytes = 3000,
                                   .flags = offset + bytes == 3000 ? shim_flag::kLast : std::uint8_t{0},
                                   .frame_number = 7},
                                  std::span(large).subspan(offset, bytes)));
  };
  rte_mbuf* burst[] = {to_mbuf(piece(2400, 600)), to_mbuf(piece(0, 1200)), to_mbuf(datagram({}, whole(small))), to_mbuf(piece(1200, 1200)),
                       to_mbuf(datagram({}, whole(small)))};
  const auto& got = receive(burst);
  ASSERT_EQ(got.frame_count, 3u);
  EXPECT_EQ(to_bytes(got.frames[0]), small);
  EXPECT_EQ(to_bytes(got.frames[1]), large);
  EXPECT_EQ(to_bytes(got.frames[2]), small);
  EXPECT_EQ(got.frames[1]->nb_segs, 3);
  EXPECT_EQ(frame_meta(got.frames[1]).frame_bytes, 3000u);
  EXPECT_GE(got.frames[1]->data_len, kFrameHeaderBytes);
  EXPECT_EQ(counters_.fragments_in.get(), 3u);
  EXPECT_EQ(counters_.partial_bytes.get(), 0u);
  rte_pktmbuf_free_bulk(received_.frames.data(), got.frame_count);
}

TEST_F(EthernetBurst, LostPiecesEndAsOneFrameReceivedAndDropped) {
  const Bytes large = frame_bytes(3000);
  const auto send = [&](std::uint32_t offset, std::uint16_t number) {
    receive(datagram({}, with_shim({.link_id = make_link_id(kLink, kGeneration), .fragment_offset = offset, .total_bytes = 3000, .flags = 0, .frame_number = number},
                                   std::span(large).subspan(offset, 1000))), 50);
  };
  send(0, 1);
  send(1000, 1);
  send(0, 2);
  EXPECT_EQ(counters_.partial_bytes.get(), 3000u);
  joiner_.expire(149, counters_, link_counters_.get());
  EXPECT_EQ(counters_.frames_in.get(), 0u);
  joiner_.expire(150, counters_, link_counters_.get());
  EXPECT_EQ(counters_.frames_in.get(), 2u);
  EXPECT_EQ(counters_.dropped_frames.get(), 2u);
  EXPECT_EQ(drops(DropReason::kJoinTimeout), 2u);
  EXPECT_EQ(counters_.partial_bytes.get(), 0u);
  send(0, 3);
  joiner_.forget(kLink, counters_, link_counters_[kLink]);
  EXPECT_EQ(drops(DropReason::kLinkGone), 1u);
  send(0, 4);
  send(900, 4);
  EXPECT_EQ(drops(DropReason::kJoinConflict), 2u) << "the packet and the frame";
  EXPECT_EQ(counters_.packets_dropped.get(), 1u);
  EXPECT_EQ(counters_.frames_in.get(), counters_.dropped_frames.get());
}

TEST_F(EthernetBurst, ChecksPacketsOfSeveralSegments) {
  for (const bool v6 : {false, true}) {
    set_link(v6);
    port_.mtu = 9000;
    const Bytes frame = frame_bytes(5000);
    DatagramFields fields;
    if (v6) {
      fields.from = ip("fd00::9");
      fields.to = ip("fd00::1");
    }
    Bytes packet = datagram(fields, whole(frame));
    for (const std::size_t segment : {2048, 1001, 777}) {
      rte_mbuf* mbuf = to_mbuf(packet, segment);
      const auto& got = receive({&mbuf, 1});
      ASSERT_EQ(got.frame_count, 1u) << segment;
      EXPECT_EQ(to_bytes(got.frames[0]), frame);
      rte_pktmbuf_free(got.frames[0]);
    }
    packet.back() ^= std::byte{4};
    rte_mbuf* mbuf = to_mbuf(packet, 1000);
    EXPECT_EQ(receive({&mbuf, 1}).frame_count, 0u);
  }
  EXPECT_EQ(drops(DropReason::kPacketChecksum), 2u);
}

TEST_F(EthernetBurst, NothingThatComesCrashesIt) {
  std::mt19937 random(3);
  const Bytes good[] = {datagram({}, whole(frame_bytes(400))), datagram({.from = ip("fd00::9"), .to = ip("fd00::1")}, whole(frame_bytes(150))),
                        arp(kOurMac, 1, kPeerMac, ip("10.1.0.9"), ip("10.1.0.1")), echo(ip("fd00::9"), ip("fd00::1"), 30)};
  for (int round = 0; round < 20'000; ++round) {
    Bytes packet = good[random() % 4];
    packet.resize(random() % (packet.size() + 1));
    for (std::uint32_t i = random() % 4; i > 0 && !packet.empty(); --i) {
      packet[random() % packet.size()] = static_cast<std::byte>(random());
    }
    rte_mbuf* mbuf = to_mbuf(packet, 60 + random() % 2000);
    mbuf->ol_flags = random() % 3 == 0 ? RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD : 0;
    const auto& got = receive({&mbuf, 1}, static_cast<std::uint64_t>(round));
    rte_pktmbuf_free_bulk(received_.frames.data(), got.frame_count);
    rte_pktmbuf_free_bulk(received_.replies.data(), got.reply_count);
    rte_pktmbuf_free_bulk(received_.learns.data(), got.learn_count);
    rte_pktmbuf_free_bulk(received_.hellos.data(), got.hello_count);
    joiner_.expire(static_cast<std::uint64_t>(round), counters_, link_counters_.get());
  }
  joiner_.expire(1u << 30, counters_, link_counters_.get());
  EXPECT_EQ(counters_.packets_in.get(), 20'000u);
}

// --- sending ----------------------------------------------------------------------------------------

struct Wire {
  bool v6;
  std::uint16_t vlan;
  std::uint16_t mtu;
  bool offload;
  bool chains;
};

class EthernetSend : public EthernetBurst, public ::testing::WithParamInterface<Wire> {
 protected:
  // We are 10.1.0.9 and send to the port of EthernetBurst; what it receives must be what was sent.
  void prepare(const Wire& wire) {
    set_link(wire.v6);
    port_ = test_port(wire.vlan);
    port_.mtu = wire.mtu;
    us_ = {.number = 3, .device = 9, .mac = kPeerMac, .vlan = wire.vlan, .udp_port = 46367, .mtu = wire.mtu, .address_count = 1,
           .tx_ipv4_checksum = wire.offload, .tx_udp_checksum = wire.offload, .tx_chains = wire.chains};
    us_.addresses[0] = ip(wire.v6 ? "fd00::9" : "10.1.0.9");
    const IpEndpoint to = make_endpoint(port_.addresses[wire.v6 ? 1 : 0], 46367);
    out_ = {.index = 1, .generation = 1, .state = LinkState::kUp, .transport = LinkTransport::kEthernet, .port = 3,
            .peer_link_id = make_link_id(kLink, kGeneration), .datagram_bytes = datagram_bytes(wire.mtu, wire.v6 ? 6 : 4), .peer = to,
            .outer = make_outer(us_, us_.addresses[0], to, kOurMac)};
  }
  // What a device does with its offloads, before the wire.
  static void finish_checksums(rte_mbuf* mbuf, bool v6) {
    Bytes bytes = to_bytes(mbuf);
    const std::size_t l3 = mbuf->l2_len;
    const std::size_t l4 = l3 + mbuf->l3_len;
    if ((mbuf->ol_flags & RTE_MBUF_F_TX_IP_CKSUM) != 0) {
      put16(bytes, l3 + 10, ~slow_sum(std::span(bytes).subspan(l3, 20)) & 0xFFFF);
    }
    if ((mbuf->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_UDP_CKSUM) {
      EXPECT_EQ((mbuf->ol_flags & RTE_MBUF_F_TX_IPV6) != 0, v6);
      put16(bytes, l4 + 6, ~slow_sum(std::span(bytes).subspan(l4)) & 0xFFFF);
    }
    for (rte_mbuf* segment = mbuf; segment != nullptr; segment = segment->next) {
      if (rte_mbuf_refcnt_read(segment) == 1) {  // headers are in a segment of our own
        std::memcpy(data_of(segment), bytes.data(), segment->data_len);
      }
      bytes.erase(bytes.begin(), bytes.begin() + segment->data_len);
    }
  }
  // Sends one reference of `frame`; returns what the other side makes of it.
  void cross(rte_mbuf* frame, const Bytes& want) {
    std::array<rte_mbuf*, kMaxCutPackets> packets;
    const std::uint32_t expected = packets_of_frame(out_, frame->pkt_len);
    const std::uint32_t count = ethernet_send(us_, out_, sender_, frame, pool_.get(), packets.data());
    ASSERT_EQ(count, expected);
    std::uint32_t frames = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      ASSERT_LE(packets[i]->pkt_len, us_.mtu + 18u);
      ASSERT_TRUE(us_.tx_chains || packets[i]->nb_segs == 1);
      finish_checksums(packets[i], GetParam().v6);
      rte_mbuf* arrived = to_mbuf(to_bytes(packets[i]));
      rte_pktmbuf_free(packets[i]);
      const auto& got = receive({&arrived, 1});
      for (std::uint32_t k = 0; k < got.frame_count; ++k, ++frames) {
        EXPECT_EQ(to_bytes(got.frames[k]), want);
        rte_pktmbuf_free(got.frames[k]);
      }
    }
    EXPECT_EQ(frames, 1u);
    EXPECT_EQ(counters_.packets_dropped.get(), 0u);
  }

  EthernetPort us_;
  LinkRecord out_;
  DatagramSender sender_{.worker = 7};
};

TEST_P(EthernetSend, EverySizeArrivesFromEveryKindOfBuffer) {
  prepare(GetParam());
  const std::size_t most = out_.datagram_bytes - kShimBytes;
  for (const std::size_t bytes : {std::size_t{104}, std::size_t{105}, std::size_t{616}, std::size_t{617}, std::size_t{1000}, most - 1, most, most + 1,
                                  2 * most, 2 * most + 1, std::size_t{20'001}, std::size_t{65'536}}) {
    SCOPED_TRACE(bytes);
    const Bytes want = frame_bytes(bytes);
    const std::size_t first = bytes > kMbufDataBytes ? 1900 : bytes;
    cross(to_frame(want, first), want);  // ours alone
    rte_mbuf* shared = to_frame(want, first);
    for (int copy = 0; copy < 3; ++copy) {
      for (rte_mbuf* segment = shared; segment != nullptr; segment = segment->next) {
        rte_mbuf_refcnt_update(segment, 1);
      }
      cross(shared, want);
      EXPECT_EQ(to_bytes(shared), want) << "shared bytes are not written";
    }
    cross(shared, want);
    cross(to_frame(want, 201), want);  // many small segments, of odd length
    rte_mbuf* tight = to_frame(want, first);
    const Bytes copy = to_bytes(tight);
    rte_pktmbuf_free(tight);
    tight = to_mbuf(copy, first);
    if (tight->nb_segs == 1) {  // no headroom
      std::memmove(static_cast<std::byte*>(tight->buf_addr) + 8, data_of(tight), tight->data_len);
      tight->data_off = 8;
    }
    cross(tight, want);
  }
  EXPECT_EQ(sender_.counter, counters_.packets_in.get()) << "each packet has a number of its own";
}

TEST_P(EthernetSend, ExternalBuffersAreCopied) {
  prepare(GetParam());
  static std::array<std::byte, 4096> external;
  static rte_mbuf_ext_shared_info info;
  info.free_cb = [](void*, void*) {};
  rte_mbuf_ext_refcnt_set(&info, 1);
  const Bytes want = frame_bytes(1000);
  std::memcpy(external.data() + 200, want.data(), want.size());
  rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_.get());
  rte_pktmbuf_attach_extbuf(mbuf, external.data(), RTE_BAD_IOVA, external.size(), &info);
  mbuf->data_off = 200;
  mbuf->data_len = 1000;
  mbuf->pkt_len = 1000;
  make_frame(mbuf, 1, true);
  cross(mbuf, want);
  EXPECT_EQ(std::memcmp(external.data() + 200, want.data(), want.size()), 0);
}

TEST_P(EthernetSend, AnEmptyPoolLosesTheFrameAndNothingElse) {
  prepare(GetParam());
  std::vector<rte_mbuf*> all;
  rte_mbuf* frame = to_frame(frame_bytes(60'000), 1900);
  while (rte_mempool_avail_count(pool_.get()) > 5) {
    all.push_back(rte_pktmbuf_alloc(pool_.get()));
  }
  std::array<rte_mbuf*, kMaxCutPackets> packets;
  EXPECT_EQ(ethernet_send(us_, out_, sender_, frame, pool_.get(), packets.data()), 0u);
  rte_pktmbuf_free_bulk(all.data(), static_cast<unsigned>(all.size()));
}

TEST_P(EthernetSend, OneFlowHasOnePortAndFlowsDiffer) {
  prepare(GetParam());
  std::set<unsigned> ports;
  for (std::uint32_t flow = 0; flow < 64; ++flow) {
    unsigned seen = 0;
    for (int again = 0; again < 3; ++again) {
      rte_mbuf* packet = nullptr;
      ASSERT_EQ(ethernet_send(us_, out_, sender_, to_frame(frame_bytes(200, flow)), pool_.get(), &packet), 1u);
      const Bytes bytes = to_bytes(packet);
      const unsigned port = std::to_integer<unsigned>(bytes[out_.outer.udp_offset]) << 8 | std::to_integer<unsigned>(bytes[out_.outer.udp_offset + 1u]);
      EXPECT_TRUE(again == 0 || port == seen);
      seen = port;
      rte_pktmbuf_free(packet);
    }
    EXPECT_GE(seen, 0xC000u);
    ports.insert(seen);
  }
  EXPECT_GT(ports.size(), 55u);
}

INSTANTIATE_TEST_SUITE_P(Wires, EthernetSend,
                         ::testing::Values(Wire{false, 0, 1500, false, true}, Wire{true, 0, 1500, false, true}, Wire{false, 7, 1500, true, true},
                                           Wire{true, 7, 1500, true, true}, Wire{false, 0, 1280, false, false}, Wire{true, 9, 1280, true, false},
                                           Wire{false, 0, 9000, true, true}, Wire{true, 3, 9000, false, true}));

}  // namespace
}  // namespace slipway

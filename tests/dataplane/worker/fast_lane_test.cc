// The short way through a port against the general one: whatever the short way takes, the general way takes alike.
#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <cstring>
#include <random>
#include <tuple>

#include "port/ethernet_datapath.h"
#include "port/fast_lane_datapath.h"
#include "port/mbuf.h"
#include "test_node.h"
#include "worker/mapped_array.h"

namespace slipway::test {
namespace {

constexpr LinkIndex kLink = 5;

struct Lane {
  explicit Lane(std::uint16_t vlan) : records(kMaxLinks), peers(kMaxLinks), link_counters(kMaxLinks) {
    port = {.number = 3, .device = 0, .mac = {2, 0, 0, 0, 0, 1}, .vlan = vlan, .udp_port = 46367, .mtu = 1500, .address_count = 1};
    port.addresses[0] = *parse_ip_address("10.0.0.1");
    peer = {.number = 3, .device = 0, .mac = {2, 0, 0, 0, 0, 2}, .vlan = vlan, .udp_port = 46367, .mtu = 1500, .address_count = 1};
    peer.addresses[0] = *parse_ip_address("10.0.0.2");
    record = {.index = kLink,
              .generation = 9,
              .state = LinkState::kUp,
              .transport = LinkTransport::kEthernet,
              .port = 3,
              .peer_link_id = 0x1234,
              .max_frame_bytes = kMaxDatagramFrameBytes,
              .datagram_bytes = datagram_bytes(1500, 4),
              .check_source_port = false,
              .peer = make_endpoint(peer.addresses[0], 46367),
              .outer = make_outer(port, port.addresses[0], make_endpoint(peer.addresses[0], 46367), peer.mac)};
    set();
  }
  void set() {
    records[kLink] = record;
    peers[kLink] = make_fast_peer(record);
    lane = make_fast_lane(port);
    header = make_fast_header(port, record, 0);
  }

  EthernetPort port;
  EthernetPort peer;
  LinkRecord record;
  FastLane lane;
  FastHeader header;
  MappedArray<LinkRecord> records;
  MappedArray<FastPeer> peers;
  MappedArray<LinkCounters> link_counters;
  WorkerCounters counters;
  MbufJoiner joiner;
};

// The reasons for which the general way has dropped packets so far.
std::string dropped_for(const WorkerCounters& counters) {
  std::string text;
  for (std::size_t i = 0; i < kDropReasonCount; ++i) {
    if (counters.drops[i].get() != 0) {
      text += std::string(drop_reason_text(static_cast<DropReason>(i)).name) + " " + std::to_string(counters.drops[i].get()) + " ";
    }
  }
  return text;
}

class FastLaneTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { pool_ = std::move(*create_pool("fast-lane-" + std::to_string(++number_), 1024)); }
  void TearDown() override { EXPECT_EQ(rte_mempool_in_use_count(pool_.get()), 0u); }

  rte_mbuf* mbuf_of(std::span<const std::byte> bytes) {
    rte_mbuf* m = rte_pktmbuf_alloc(pool_.get());
    std::memcpy(rte_pktmbuf_append(m, static_cast<std::uint16_t>(bytes.size())), bytes.data(), bytes.size());
    return m;
  }
  static Bytes bytes_of(rte_mbuf* m) { return {data_of(m), data_of(m) + m->data_len}; }
  Bytes packet(Lane& lane, const Bytes& frame, bool udp_checksum) {
    Bytes payload(kShimBytes + frame.size());
    store_shim(payload.data(), {.link_id = lane.record.id(), .counter = 77, .total_bytes = static_cast<std::uint32_t>(frame.size())});
    std::memcpy(payload.data() + kShimBytes, frame.data(), frame.size());
    const auto outer = make_outer(lane.peer, lane.peer.addresses[0], make_endpoint(lane.port.addresses[0], 46367), lane.port.mac);
    Bytes bytes = make_datagram(lane.peer, outer, payload);
    if (!udp_checksum) {
      std::memset(bytes.data() + outer.udp_offset + 6, 0, 2);
    }
    return bytes;
  }

  MbufPool pool_;
  static inline int number_ = 0;
};

// All but the padding.
auto fields_of(const FrameMeta& meta) {
  return std::tie(meta.in_link, meta.out_link, meta.out_generation, meta.frame_bytes, meta.injected, meta.pausable, meta.encoded_serial);
}

TEST_P(FastLaneTest, TakesWhatTheGeneralWayTakesAndNothingElse) {
  Lane lane(static_cast<std::uint16_t>(GetParam()));
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  int taken = 0;
  int refused = 0;
  for (int round = 0; round < 40'000; ++round) {
    const Bytes frame = make_publish({.to = test_name(1), .body_bytes = random() % 1200});
    Bytes bytes = packet(lane, frame, random() % 8 == 0);
    // Mostly one changed byte among the headers, sometimes two, sometimes none; sometimes cut or longer.
    for (std::uint32_t changes = random() % 3; changes != 0; --changes) {
      bytes[random() % 88] ^= static_cast<std::byte>(1u << random() % 8);
    }
    if (random() % 10 == 0) {
      bytes.resize(random() % 2 == 0 ? bytes.size() - random() % bytes.size() / 2 : bytes.size() + 4);
    }
    rte_mbuf* fast = mbuf_of(bytes);
    rte_mbuf* slow = mbuf_of(bytes);
    if (random() % 4 == 0) {
      static constexpr std::uint64_t kFlags[] = {RTE_MBUF_F_RX_IP_CKSUM_GOOD, RTE_MBUF_F_RX_L4_CKSUM_GOOD, RTE_MBUF_F_RX_IP_CKSUM_BAD,
                                                 RTE_MBUF_F_RX_L4_CKSUM_BAD, RTE_MBUF_F_RX_RSS_HASH};
      fast->ol_flags = slow->ol_flags = kFlags[random() % 5];
    }
    const LinkIndex link = fast_receive(lane.lane, lane.peers.data(), fast);
    EthernetReceived out;
    ethernet_receive(lane.port, {lane.records.data(), lane.link_counters.data(), &lane.counters, &lane.joiner}, {&slow, 1}, 1, out);
    if (link == kNoLink) {
      ++refused;
      EXPECT_EQ(bytes_of(fast), bytes);  // untouched
    } else {
      ++taken;
      ASSERT_EQ(out.frame_count, 1u) << "round " << round << ": " << dropped_for(lane.counters);
      EXPECT_EQ(link, frame_meta(out.frames[0]).in_link);
      EXPECT_EQ(bytes_of(fast), bytes_of(out.frames[0]));
      EXPECT_EQ(fields_of(frame_meta(fast)), fields_of(frame_meta(out.frames[0])));
      EXPECT_EQ(fast->pkt_len, out.frames[0]->pkt_len);
      EXPECT_EQ(load_le<std::uint32_t>(data_of(fast) - 4), fast->pkt_len);
    }
    rte_pktmbuf_free(fast);
    rte_pktmbuf_free_bulk(out.frames.data(), out.frame_count);
    rte_pktmbuf_free_bulk(out.replies.data(), out.reply_count);
    rte_pktmbuf_free_bulk(out.learns.data(), out.learn_count);
    rte_pktmbuf_free_bulk(out.hellos.data(), out.hello_count);
  }
  EXPECT_GT(taken, 5000);
  EXPECT_GT(refused, 5000);
}

TEST_P(FastLaneTest, SendsTheSameBytes) {
  for (int offloads = 0; offloads < 4; ++offloads) {
    Lane lane(static_cast<std::uint16_t>(GetParam()));
    lane.port.tx_ipv4_checksum = (offloads & 1) != 0;
    lane.port.tx_udp_checksum = (offloads & 2) != 0;
    lane.set();
    DatagramSender one{.worker = 2, .counter = 65'430};
    DatagramSender other = one;
    FastSequence sequence(one);
    for (std::uint32_t i = 0; i < 200; ++i) {
      const Bytes frame = make_publish({.to = test_name(i), .message = i, .session = i * 7, .body_bytes = i * 6});
      rte_mbuf* fast = mbuf_of(frame);
      rte_mbuf* slow = mbuf_of(frame);
      ASSERT_TRUE(fast_send(lane.header, sequence, fast));
      rte_mbuf* packets[4];
      ASSERT_EQ(ethernet_send(lane.port, lane.record, other, slow, pool_.get(), packets), 1u);
      ASSERT_EQ(bytes_of(fast), bytes_of(packets[0])) << "offloads " << offloads << " frame " << i;
      EXPECT_EQ(fast->ol_flags, packets[0]->ol_flags);
      if (offloads != 0) {
        EXPECT_EQ(fast->l2_len, packets[0]->l2_len);
        EXPECT_EQ(fast->l3_len, packets[0]->l3_len);
      }
      rte_pktmbuf_free(fast);
      rte_pktmbuf_free(packets[0]);
    }
    sequence.store(one);
    EXPECT_EQ(one.counter, other.counter);
  }
}

TEST_P(FastLaneTest, APacketThatIsSentOnWhereItLiesIsTheSamePacket) {
  Lane lane(static_cast<std::uint16_t>(GetParam()));
  DatagramSender other{.worker = 2, .counter = 65'430};
  FastSequence sequence(other);
  const FastCheck check(lane.lane, lane.peers.data());
  for (std::uint32_t i = 0; i < 200; ++i) {
    const Bytes bytes = packet(lane, make_publish({.to = test_name(i), .message = i, .session = i * 7, .body_bytes = i * 6}), false);
    rte_mbuf* fast = mbuf_of(bytes);
    rte_mbuf* slow = mbuf_of(bytes);
    std::uint64_t link = kNoLink;
    ASSERT_TRUE(check.long_enough(fast) && check.is_plain(fast, check.frame_of(fast), &link));
    ASSERT_EQ(link, kLink);
    if (lane.header.length == fast_lane::kUntagged) {
      put_packet<true>(lane.header, sequence, fast, check.frame_of(fast), check.frame_bytes_of(fast));
    } else {
      put_packet<false>(lane.header, sequence, fast, check.frame_of(fast), check.frame_bytes_of(fast));
    }
    ASSERT_EQ(fast_receive(lane.lane, lane.peers.data(), slow), kLink);
    rte_mbuf* packets[4];
    ASSERT_EQ(ethernet_send(lane.port, lane.record, other, slow, pool_.get(), packets), 1u);
    ASSERT_EQ(bytes_of(fast), bytes_of(packets[0])) << "frame " << i;
    EXPECT_EQ(fast->pkt_len, packets[0]->pkt_len);
    EXPECT_EQ(fast->ol_flags, packets[0]->ol_flags);
    rte_pktmbuf_free(fast);
    rte_pktmbuf_free(packets[0]);
  }
}

TEST_P(FastLaneTest, LeavesToTheGeneralWayWhatIsNotPlain) {
  Lane lane(static_cast<std::uint16_t>(GetParam()));
  FastSequence sequence{DatagramSender{}};
  const auto largest = static_cast<std::size_t>(lane.record.datagram_bytes) - kShimBytes;
  const auto send_of = [&](std::size_t bytes) {
    rte_mbuf* m = mbuf_of(make_publish({.to = test_name(1), .body_bytes = bytes - kFrameHeaderBytes}));
    const bool sent = fast_send(lane.header, sequence, m);
    rte_pktmbuf_free(m);
    return sent;
  };
  EXPECT_TRUE(send_of(largest));
  EXPECT_FALSE(send_of(largest + 1));
  rte_mbuf* shared = mbuf_of(make_publish({.to = test_name(1)}));
  rte_mbuf_refcnt_update(shared, 1);
  EXPECT_FALSE(fast_send(lane.header, sequence, shared));
  rte_mbuf_refcnt_update(shared, -1);
  rte_pktmbuf_adj(shared, 10);
  rte_pktmbuf_prepend(shared, 100);  // too little room before it
  EXPECT_FALSE(fast_send(lane.header, sequence, shared));
  rte_pktmbuf_free(shared);
  lane.record.outer.length = 0;  // the next hop is not resolved
  lane.set();
  EXPECT_FALSE(send_of(200));
  // A link that checks the source port takes only that one.
  const Bytes bytes = packet(lane, make_publish({.to = test_name(1)}), false);
  for (const std::uint16_t source_port : {46367, 46368}) {
    lane.record.check_source_port = true;
    lane.record.peer.port = source_port;
    lane.set();
    rte_mbuf* m = mbuf_of(bytes);
    EXPECT_EQ(fast_receive(lane.lane, lane.peers.data(), m), source_port == 46367 ? kLink : kNoLink);
    rte_pktmbuf_free(m);
  }
  rte_mbuf* m = mbuf_of(bytes);
  EXPECT_EQ(fast_receive(FastLane{}, lane.peers.data(), m), kNoLink);
  lane.port.number = 4;  // another port than the link's
  lane.set();
  EXPECT_EQ(fast_receive(lane.lane, lane.peers.data(), m), kNoLink);
  rte_pktmbuf_free(m);
}

INSTANTIATE_TEST_SUITE_P(Tags, FastLaneTest, ::testing::Values(0, 100));

}  // namespace
}  // namespace slipway::test

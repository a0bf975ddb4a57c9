#include "worker/punt_datapath.h"

#include <algorithm>

#include "frame/frame.h"

namespace slipway {
namespace {

constexpr std::uint32_t kPortBurst = 256;
constexpr std::uint32_t kNoticeBurst = 16;

std::uint32_t burst_of(std::uint32_t per_second) { return std::max<std::uint32_t>(per_second / 8, 64); }

// The bytes of a chain in one piece: where they lie, or copied to `scratch`.
std::span<const std::byte> contiguous(const rte_mbuf* m, std::span<std::byte> scratch) {
  const auto bytes = std::min<std::size_t>(rte_pktmbuf_pkt_len(m), scratch.size());
  const void* at = rte_pktmbuf_read(m, 0, static_cast<std::uint32_t>(bytes), scratch.data());
  return {static_cast<const std::byte*>(at), at == nullptr ? 0 : bytes};
}

DropReason reason_of(FrameFault fault) {
  switch (fault) {
    case FrameFault::kTooShort:
      return DropReason::kFrameShort;
    case FrameFault::kVersion:
      return DropReason::kFrameVersion;
    case FrameFault::kKind:
      return DropReason::kFrameKind;
    default:
      return DropReason::kFrameFlags;
  }
}

void punt_frame(WorkerCore& w, LinkIndex in_link, rte_mbuf* frame) {
  LinkSide& side = w.sides[in_link];
  if (rte_pktmbuf_pkt_len(frame) > kMaxControlFrameBytes) {
    drop_frame(w, in_link, DropReason::kControlTooBig, frame);
    return;
  }
  if (!side.punts.take(w.now_ms, w.punts_per_second, burst_of(w.punts_per_second))) {
    drop_frame(w, in_link, DropReason::kPuntLimit, frame);
    return;
  }
  std::array<std::byte, kMaxControlFrameBytes> scratch;
  const PuntedFrame record{in_link, w.links[in_link].generation};
  if (!tell_if_room(w, Event::kPuntedFrame, std::as_bytes(std::span(&record, 1)), contiguous(frame, scratch))) {
    drop_frame(w, in_link, DropReason::kPuntFull, frame);
    return;
  }
  w.counters.punted.add(1);
  // A stream that asks too much is left to wait before something of it has to be dropped.
  if (frame_meta(frame).pausable && side.punts.left(burst_of(w.punts_per_second)) < kMaxBurst) {
    w.sockets->hold_control(in_link);
  }
  rte_pktmbuf_free(frame);
}

// The newest frame stands for those before it.
void owe_notice(WorkerCore& w, const NoRoute& record) {
  for (std::uint32_t i = 0; i < w.owed.count; ++i) {
    NoRoute& owed = w.owed.of[i];
    if (owed.link == record.link && owed.generation == record.generation) {
      const std::uint32_t more = owed.more + 1;
      owed = record;
      owed.more = more;
      return;
    }
  }
  if (w.owed.count == w.owed.of.size()) {
    w.counters.events_lost.add(1);
    return;
  }
  if (w.owed.count == 0) {
    w.owed.due_ns = w.now_ns + kNoticeDelayMs * 1'000'000;
  }
  w.owed.of[w.owed.count++] = record;
}

// The same for what is not a frame of a link: false when it is to be dropped, which is counted here.
bool may_punt_packet(WorkerCore& w, PortSlot& slot, bool told_room) {
  DropReason reason = DropReason::kPuntFull;
  if (told_room) {
    if (slot.punts.take(w.now_ms, kPortPuntsPerSecond, kPortBurst)) {
      return true;
    }
    reason = DropReason::kPuntLimit;
  }
  count_drop(w, reason);
  w.counters.packets_dropped.add(1);
  return false;
}

}  // namespace

void tell_bytes(WorkerCore& w, Event event, std::span<const std::byte> record, std::span<const std::byte> tail) {
  if (!w.events.push(static_cast<std::uint16_t>(event), record, tail)) {
    w.counters.events_lost.add(1);
  }
}

bool tell_if_room(WorkerCore& w, Event event, std::span<const std::byte> record, std::span<const std::byte> tail) {
  if (w.events.free_bytes() < kEventReserveBytes + record.size() + tail.size()) {
    return false;
  }
  return w.events.push(static_cast<std::uint16_t>(event), record, tail);
}

void punt_or_drop(WorkerCore& w, rte_mbuf* frame) {
  const LinkIndex in_link = frame_meta(frame).in_link;
  const LinkState state = w.links[in_link].state;
  const std::byte* f = data_of(frame);
  const FrameFault fault = check_frame({f, rte_pktmbuf_data_len(frame)});
  if (fault != FrameFault::kNone) {
    drop_frame(w, in_link, reason_of(fault), frame);
    return;
  }
  const auto kind = static_cast<FrameKind>(frame_kind(f));
  if (state == LinkState::kFree || (state == LinkState::kGreeting && kind != FrameKind::kLink)) {
    drop_frame(w, in_link, DropReason::kLinkNotReady, frame);
    return;
  }
  if (kind == FrameKind::kLink || kind == FrameKind::kSubscriptionAck) {
    punt_frame(w, in_link, frame);  // these have no hop limit
    return;
  }
  const std::uint8_t hops = frame_hop_limit(f);
  if (hops <= 1) {
    // The sender of a publish is told; a control frame answers for itself.
    if (kind == FrameKind::kPublish) {
      drop_unmatched(w, in_link, DropReason::kHopLimit, frame);
    } else {
      drop_frame(w, in_link, DropReason::kHopLimit, frame);
    }
    return;
  }
  set_frame_hop_limit(data_of(frame), static_cast<std::uint8_t>(hops - 1));
  punt_frame(w, in_link, frame);
}

void tell_local_frame(WorkerCore& w, LinkIndex to, rte_mbuf* frame) {
  LinkSide& side = w.sides[frame_meta(frame).in_link];
  const std::uint32_t bytes = rte_pktmbuf_pkt_len(frame);
  DropReason reason = DropReason::kPuntFull;
  bool told = false;
  if (!side.punts.take(w.now_ms, w.punts_per_second, burst_of(w.punts_per_second))) {
    reason = DropReason::kPuntLimit;
  } else if (w.events.free_bytes() >= kControlRoomBytes + bytes) {
    std::array<std::byte, kMaxLocalFrameBytes> scratch;
    const PuntedFrame record{to, w.links[to].generation};
    told = tell_if_room(w, Event::kLocalFrame, std::as_bytes(std::span(&record, 1)), contiguous(frame, scratch));
  }
  if (told) {
    w.counters.sent.add(1);
    w.counters.bytes_sent.add(bytes);
    w.link_counters[to].frames_sent.add(1);
    w.link_counters[to].bytes_sent.add(bytes);
  } else {
    count_dropped_copy(w, to, reason);
  }
  rte_pktmbuf_free(frame);
}

void drop_unmatched(WorkerCore& w, LinkIndex in_link, DropReason reason, rte_mbuf* frame) {
  constexpr std::uint8_t kSessionAck = 2;  // upstream's session message type of an acknowledgement
  const std::byte* f = data_of(frame);
  const LinkHot& in = w.links[in_link];
  const bool acknowledgement = load_le<std::uint8_t>(f + frame_offset::kSessionMessageType) == kSessionAck;
  if (in.native && !acknowledgement) {
    const NoRoute record{.link = in_link,
                         .generation = in.generation,
                         .session_id = frame_session_id(f),
                         .message_id = load_le<std::uint32_t>(f + frame_offset::kMessageId),
                         .drop_reason = static_cast<std::uint8_t>(reason),
                         .more = 0,
                         .destination = load_name(f + frame_offset::kDestination),
                         .source = load_name(f + frame_offset::kSource)};
    const bool now = w.sides[in_link].notices.take(w.now_ms, w.notices_per_second, kNoticeBurst);
    if (!now || !tell_if_room(w, Event::kNoRoute, std::as_bytes(std::span(&record, 1)), {})) {
      owe_notice(w, record);
    }
  }
  drop_frame(w, in_link, reason, frame);
}

void tell_owed_notices(WorkerCore& w) {
  std::uint32_t left = 0;
  for (std::uint32_t i = 0; i < w.owed.count; ++i) {
    if (!tell_if_room(w, Event::kNoRoute, std::as_bytes(std::span(&w.owed.of[i], 1)), {})) {
      w.owed.of[left++] = w.owed.of[i];
    }
  }
  w.owed.count = left;
  w.owed.due_ns = w.now_ns + kNoticeDelayMs * 1'000'000;
}

void punt_neighbor_packet(WorkerCore& w, PortSlot& slot, rte_mbuf* packet) {
  std::array<std::byte, kMbufDataBytes> scratch;
  const PuntedPacket record{slot.number};
  const bool room = w.events.free_bytes() > kEventReserveBytes + sizeof record + scratch.size();
  if (may_punt_packet(w, slot, room)) {
    tell(w, Event::kPuntedPacket, record, contiguous(packet, scratch));
    w.counters.packets_punted.add(1);
  }
  rte_pktmbuf_free(packet);
}

void punt_hello(WorkerCore& w, PortSlot& slot, Hello& hello, rte_mbuf* frame) {
  std::array<std::byte, kMbufDataBytes> scratch;
  hello.worker = static_cast<std::uint8_t>(w.id);
  const bool room = w.events.free_bytes() > kEventReserveBytes + sizeof hello + scratch.size();
  if (may_punt_packet(w, slot, room)) {
    tell(w, Event::kHello, hello, contiguous(frame, scratch));
    w.counters.packets_punted.add(1);
  }
  rte_pktmbuf_free(frame);
}

}  // namespace slipway

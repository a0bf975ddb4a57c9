#include "worker/watch.h"

#include <algorithm>
#include <cstring>
#include <ctime>

#include "frame/frame.h"
#include "worker/punt_datapath.h"

namespace slipway {
namespace {

constexpr std::uint8_t kNotDropped = 0xFF;

std::uint64_t wall_clock_ns() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}

bool matches(const Watch& watch, rte_mbuf* frame) {
  const TraceFilter& filter = watch.filter;
  if (watch.left == 0 || (filter.link != kNoLink && filter.link != frame_meta(frame).in_link)) {
    return false;
  }
  const bool whole_header = rte_pktmbuf_data_len(frame) >= kFrameHeaderBytes;
  if (!whole_header) {
    return filter.kind == 0 && !filter.match_name;
  }
  const std::byte* f = data_of(frame);
  if (filter.kind != 0 && filter.kind != frame_kind(f)) {
    return false;
  }
  if (!filter.match_name) {
    return true;
  }
  const Name name = load_name(f + frame_offset::kDestination);
  return name.component == filter.destination.component && (filter.destination.id.is_null() || name.id == filter.destination.id);
}

// Which links the tables offer, by class, before one is chosen.
void note_candidates(WorkerCore& w, rte_mbuf* frame, Traced& traced) {
  if (rte_pktmbuf_data_len(frame) < kFrameHeaderBytes ||
      frame_kind(data_of(frame)) != static_cast<std::uint8_t>(FrameKind::kPublish)) {
    return;
  }
  const RouteMatch match = w.table->lookup_one(load_name(data_of(frame) + frame_offset::kDestination));
  for (std::size_t c = 0; c < kLinkClasses && match.found(); ++c) {
    traced.candidates[c] = w.table->link_count(match, class_bit(static_cast<LinkClass>(c)));
  }
}

std::uint8_t new_drop(const WorkerCore& w, const WatchNote& note) {
  for (std::size_t i = 0; i < kDropReasonCount; ++i) {
    if (w.counters.drops[i].get() != note.drops[i]) {
      return static_cast<std::uint8_t>(i);
    }
  }
  return kNotDropped;
}

void update_watching(WorkerCore& w) { w.watching = w.trace.left != 0 || w.capture.left != 0; }

}  // namespace

void set_watch(WorkerCore& w, Watch& watch, const TraceFilter& filter) {
  watch.filter = filter;
  watch.filter.snap_bytes = std::min<std::uint32_t>(filter.snap_bytes, kMaxSnapBytes);
  watch.left = filter.count;
  update_watching(w);
}

void watch_before(WorkerCore& w, rte_mbuf* frame, WatchNote& note) {
  note.trace = matches(w.trace, frame);
  note.capture = matches(w.capture, frame);
  if (!note.trace && !note.capture) {
    return;
  }
  note.traced = {.time_ns = wall_clock_ns(),
                 .from = frame_meta(frame).in_link,
                 .frame_bytes = rte_pktmbuf_pkt_len(frame),
                 .candidates = {},
                 .chosen = kNoLink,
                 .copies = 0,
                 .punted = false,
                 .drop_reason = kNotDropped};
  note.header.fill(std::byte{0});
  std::memcpy(note.header.data(), data_of(frame), std::min<std::size_t>(rte_pktmbuf_data_len(frame), kFrameHeaderBytes));
  if (note.trace) {
    note_candidates(w, frame, note.traced);
  }
  if (note.capture) {
    note.captured_bytes = std::min(w.capture.filter.snap_bytes, rte_pktmbuf_pkt_len(frame));
    const void* at = rte_pktmbuf_read(frame, 0, note.captured_bytes, note.bytes.data());
    if (at != note.bytes.data()) {
      std::memcpy(note.bytes.data(), at, note.captured_bytes);
    }
  }
  note.copies = w.counters.copies_made.get();
  note.punted = w.counters.punted.get();
  for (std::size_t i = 0; i < kDropReasonCount; ++i) {
    note.drops[i] = w.counters.drops[i].get();
  }
  w.last_chosen = kNoLink;
}

void watch_after(WorkerCore& w, const WatchNote& note) {
  if (!note.trace && !note.capture) {
    return;
  }
  const std::uint8_t drop = new_drop(w, note);
  if (note.trace && (!w.trace.filter.drops_only || drop != kNotDropped)) {
    Traced traced = note.traced;
    traced.chosen = w.last_chosen;
    traced.copies = static_cast<std::uint32_t>(w.counters.copies_made.get() - note.copies);
    traced.punted = w.counters.punted.get() != note.punted;
    traced.drop_reason = drop;
    w.trace.left -= tell_if_room(w, Event::kTraced, std::as_bytes(std::span(&traced, 1)), note.header) ? 1 : 0;
  }
  if (note.capture && (!w.capture.filter.drops_only || drop != kNotDropped)) {
    const Captured captured{note.traced.time_ns, note.traced.from, note.traced.frame_bytes, drop};
    const std::span<const std::byte> bytes(note.bytes.data(), note.captured_bytes);
    w.capture.left -= tell_if_room(w, Event::kCaptured, std::as_bytes(std::span(&captured, 1)), bytes) ? 1 : 0;
  }
  update_watching(w);
}

}  // namespace slipway

// The stages of a burst. Each is a loop over all its frames and calls no other stage.
#include "worker/forward_datapath.h"

#include "frame/frame.h"
#include "worker/fanout_datapath.h"
#include "worker/punt_datapath.h"
#include "worker/send_datapath.h"
#include "worker/watch.h"

namespace slipway {
namespace {

// Check, link state, hop limit, kind of frames that are whole (from sockets, or joined).
void take_publishes(WorkerCore& w, std::span<rte_mbuf* const> frames, Publishes& p) {
  for (rte_mbuf* m : frames) {
    std::byte* f = data_of(m);
    const LinkIndex in_link = frame_meta(m).in_link;
    if (m->data_len < kFrameHeaderBytes || !plain_publish(f) || !may_forward(w.links[in_link].state)) [[unlikely]] {
      punt_or_drop(w, m);
    } else {
      set_frame_hop_limit(f, static_cast<std::uint8_t>(frame_hop_limit(f) - 1));
      p.frame[p.count] = m;
      p.destination[p.count] = f + frame_offset::kDestination;
      p.in_link[p.count] = in_link;
      p.bytes[p.count] = m->pkt_len;
      ++p.count;
    }
  }
}

const AnycastRules& rules_for(const WorkerCore& w, LinkIndex in_link) {
  return w.links[in_link].link_class == LinkClass::kPeer ? w.rules_from_peer : w.rules;
}

void send_one(WorkerCore& w, rte_mbuf* m, LinkIndex in_link, RouteMatch match, LinkIndex to) {
  if (to == kNoLink) {
    drop_unmatched(w, in_link, match.found() ? DropReason::kOnlyIngress : DropReason::kNoRoute, m);
    return;
  }
  if (w.links[to].max_frame_bytes < rte_pktmbuf_pkt_len(m) && w.links[to].state == LinkState::kUp) [[unlikely]] {
    drop_unmatched(w, in_link, DropReason::kTooBigForLink, m);
    return;
  }
  w.counters.forwarded.add(1);
  w.counters.copies_made.add(1);
  w.last_chosen = to;
  send_copy(w, to, m);
}

// One receiver of a match, never the ingress; kNoLink when there is none.
inline LinkIndex choose(WorkerCore& w, RouteMatch match, LinkIndex in_link) {
  if (w.full_mesh || w.rules.load != nullptr) [[unlikely]] {
    const LinkIndex to = match.found() ? w.table->choose_one(match, in_link, rules_for(w, in_link)) : kNoLink;
    if (w.rules.load != nullptr) {
      ++w.load[to];
    }
    return to;
  }
  if (match.is_group()) {
    return w.table->choose_one(match, in_link, w.rules);
  }
  return match.link() == in_link ? kNoLink : match.link();  // of a match that is none the link is kNoLink
}

// One frame on the way that fits all. Those before it are where they belong.
[[gnu::noinline]] void send_general(WorkerCore& w, const Publishes& p, std::uint32_t i, RouteMatch match, LinkIndex to) {
  rte_mbuf* m = p.frame[i];
  const LinkIndex in_link = p.in_link[i];
  if (p.bare) {
    make_frame(m, in_link, false);
  }
  const bool all = frame_fanout(data_of(m)) != 1;
  if (w.fanouts.count != 0 && must_wait(w, m, all)) {
    queue_fanout(w, m, in_link, match);
  } else if (all) {
    begin_fanout(w, m, in_link, match);
  } else {
    send_one(w, m, in_link, match, to);
  }
}

// Links of the frames that go to one receiver; kNoLink for those that go to all or to nobody.
// cost: expected 1 ns a frame for a single link, 4 for a group (its line was prefetched).
void choose_links(WorkerCore& w, const Publishes& p, const RouteMatch* matches, LinkIndex* to) {
  for (std::uint32_t i = 0; i < p.count; ++i) {
    const bool one = load_le<std::uint32_t>(p.destination[i] - frame_offset::kDestination + frame_offset::kFanout) == 1;
    to[i] = one ? choose(w, matches[i], p.in_link[i]) : kNoLink;
  }
}

// Frames `first` to `first + count`, which lie as packets behind what the slot holds: its books and the links'.
// cost: expected 2 ns a frame.
void note_run(WorkerCore& w, PortSlot& slot, const Publishes& p, const LinkIndex* to, std::uint32_t first, std::uint32_t count) {
  rte_mbuf** packets = slot.packet.data() + slot.packets;
  TxCopy* copies = slot.copy.data() + slot.copies;
  std::uint64_t total = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t bytes = p.bytes[first + i];
    packets[i] = p.frame[first + i];
    store_le(copies + i, to[first + i] | std::uint64_t{1} << 16 | bytes << 32);
    total += bytes;
  }
  LinkCounters* counters = w.link_counters.data();
  for (std::uint32_t i = 0; i < count; ++i) {
    counters[to[first + i]].frames_sent.add(1);  // taken back if the port refuses it
    counters[to[first + i]].bytes_sent.add(p.bytes[first + i]);
  }
  slot.packets += count;
  slot.copies += count;
  slot.frame_bytes += total;
  w.counters.forwarded.add(count);
  w.counters.copies_made.add(count);
  w.last_chosen = to[first + count - 1];
}

// Sends, in order of arrival: runs of frames that leave by one port in the short way, and between them what does not.
// While fan-outs wait every frame is looked at by itself: it may have to wait behind.
void send_publishes(WorkerCore& w, const Publishes& p, const RouteMatch* matches, const LinkIndex* to) {
  for (std::uint32_t done = 0; done < p.count;) {
    const FastHeader& header = w.headers[to[done]];
    PortSlot* slot = w.slots[header.slot];  // of a header that fits nothing, maybe none
    if (header.largest_frame != 0 && w.fanouts.count == 0 && slot->packets + p.count <= kTxBufferPackets) [[likely]] {
      const std::uint32_t sent = fast_send_run(w.headers.data(), w.sender, p.frame.data() + done, to + done, p.count - done);
      if (sent != 0) {
        note_run(w, *slot, p, to, done, sent);
        done += sent;
        continue;
      }
    }
    send_general(w, p, done, matches[done], to[done]);
    ++done;
  }
}

}  // namespace

void forward_publishes(WorkerCore& w, Publishes& p) {
  std::array<RouteMatch, kMaxBurst> matches;
  std::array<LinkIndex, kMaxBurst> to;
  w.table->lookup({p.destination.data(), p.count}, matches.data());
  choose_links(w, p, matches.data(), to.data());
  send_publishes(w, p, matches.data(), to.data());
}

namespace {

void forward_stages(WorkerCore& w, std::span<rte_mbuf* const> frames) {
  Publishes p;
  take_publishes(w, frames, p);
  if (p.count != 0) {
    forward_publishes(w, p);
  }
}

// One frame at a time: what became of it is what the counters say that has changed.
[[gnu::noinline]] void forward_watched(WorkerCore& w, std::span<rte_mbuf* const> frames) {
  for (rte_mbuf* const& frame : frames) {
    WatchNote note;
    watch_before(w, frame, note);
    forward_stages(w, {&frame, 1});
    watch_after(w, note);
  }
}

}  // namespace

void forward_burst(WorkerCore& w, std::span<rte_mbuf* const> frames) {
  if (w.watching) [[unlikely]] {
    forward_watched(w, frames);
    return;
  }
  forward_stages(w, frames);
}

}  // namespace slipway

#include "link/peer_sync.h"

#include "control_bounds.h"

namespace slipway {

namespace {

const std::string kProtocolVersion = NegotiationConfig{}.version;
constexpr std::uint64_t kResendMs = 500;
constexpr std::uint32_t kMaxTries = 40;          // then the link itself is as good as dead
constexpr std::size_t kMaxUnanswered = 65'536;   // of one peer; beyond, announcements are not sent again

// Whoever subscribes may say what text he likes; what does not fit the name is not passed on.
bool fits(const PeerSync::Words& text, const Name& name) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (hash_component(text[i]) != name.component[i]) {
      return false;
    }
  }
  return true;
}

std::uint8_t bit(LinkClass c) { return static_cast<std::uint8_t>(1u << static_cast<unsigned>(c)); }

}  // namespace

PeerSync::PeerSync(SubscriptionDatabase& database, LinkTable& links, ControlCounters& counters, Send send, std::uint64_t seed)
    : database_(database), links_(links), counters_(counters), send_(std::move(send)), next_id_(seed) {}

std::uint8_t PeerSync::own_hops() const { return full_mesh_ ? kFullMeshSyncHops : kStandaloneSyncHops; }

bool PeerSync::first_hand(std::uint8_t hop_limit) const {
  return hop_limit + 1 == kStandaloneSyncHops || (full_mesh_ && hop_limit + 1 == kFullMeshSyncHops);
}

std::uint64_t PeerSync::new_id() {
  ++next_id_;
  return next_id_ == 0 ? ++next_id_ : next_id_;  // 0 means that no acknowledgement is wanted
}

FrameBytes PeerSync::frame_of(const Announcement& what) {
  FrameHeader header;
  header.kind = what.add ? FrameKind::kSubscribe : FrameKind::kUnsubscribe;
  header.hop_limit = what.hop_limit;
  header.destination = what.name;
  header.source = what.name;
  SubscribeBody body;
  if (fits(what.text, what.name)) {
    body.destination_text = what.text;
    body.source_text = what.text;
  }
  body.subscription_id = what.id;
  body.version = kProtocolVersion;
  return encode_subscribe(header, body);
}

void PeerSync::tell(LinkIndex link, Peer& peer, const Announcement& what) {
  const NodeLink* l = links_.find(link, peer.generation);
  if (l == nullptr || l->record.state != LinkState::kUp) {
    return;
  }
  auto frame = frame_of(what);
  send_(l->record, frame);
  if (peer.datagram && (peer.unanswered.size() < kMaxUnanswered || peer.unanswered.contains(what.id))) {
    peer.unanswered.insert_or_assign(what.id, Unanswered{std::move(frame), now_ms_, 1});
  }
}

// A peer whose full synchronisation has not come to the name yet hears of it then, or never, if it is gone by then.
void PeerSync::tell_local(const Announcement& what) {
  for (auto& [link, peer] : peers_) {
    const bool later = peer.syncing_local && (!peer.local_started || !NameOrder{}(what.name, peer.local_next));
    if (!later) {
      tell(link, peer, what);
    }
  }
}

void PeerSync::tell_relayed(LinkIndex but, const Announcement& what) {
  for (auto& [link, peer] : peers_) {
    const bool later = peer.syncing_relayed && (!peer.relay_started || !(RelayKey{what.name, what.id} < peer.relay_next));
    if (link != but && !later) {
      tell(link, peer, what);
    }
  }
}

// --- our own names ------------------------------------------------------------------------------------------

void PeerSync::set_classes(const Name& name, std::uint8_t classes, const Words& text) {
  const auto at = local_.find(name);
  if (at == local_.end()) {
    if (classes != 0) {
      const auto id = new_id();
      local_.emplace(name, Local{id, classes});
      ++counters_.names_announced;
      tell_local({true, name, id, own_hops(), text});
    }
    return;
  }
  if (classes != 0) {
    at->second.classes = classes;
    return;
  }
  const auto id = at->second.id;
  ++counters_.names_withdrawn;
  tell_local({false, name, id, own_hops(), text});
  local_.erase(at);
}

void PeerSync::on_transition(const Transition& transition) {
  if (!active_ || transition.link_class == LinkClass::kPeer) {
    return;
  }
  const auto at = local_.find(transition.name);
  const std::uint8_t before = at == local_.end() ? 0 : at->second.classes;
  const std::uint8_t its = bit(transition.link_class);
  set_classes(transition.name, static_cast<std::uint8_t>(transition.reachable ? before | its : before & ~its),
              transition.reachable ? database_.text_parts(transition.name) : transition.text);
}

// Learns the names that were there before the first peer, a page at a time.
bool PeerSync::build() {
  const auto page = database_.list(build_page_, kSyncSlice);
  for (const auto& row : page.rows) {
    std::uint8_t classes = 0;
    for (const auto c : {LinkClass::kLocal, LinkClass::kRemote, LinkClass::kEdge}) {
      if (row.links[static_cast<std::size_t>(c)] != 0) {
        classes |= bit(c);
      }
    }
    set_classes(row.name, classes, database_.text_parts(row.name));
  }
  build_page_ = page.next;
  built_ = page.next == 0;
  return !built_;
}

// --- peers ----------------------------------------------------------------------------------------------------

void PeerSync::link_up(const NodeLink& peer) {
  active_ = true;
  Peer state{};
  state.generation = peer.record.generation;
  state.datagram = peer.record.transport != LinkTransport::kStream;
  peers_.insert_or_assign(peer.record.index, std::move(state));
}

void PeerSync::link_lost(LinkIndex lost) {
  if (peers_.erase(lost) == 0) {
    return;
  }
  for (auto at = relayed_.begin(); at != relayed_.end();) {
    if (at->second.from == lost) {
      if (at->second.hop_limit >= 2) {
        ++counters_.names_relayed;
        tell_relayed(lost, {false, at->first.name, at->first.id, at->second.hop_limit, database_.text_parts(at->first.name)});
      }
      at = relayed_.erase(at);
    } else {
      ++at;
    }
  }
}

bool PeerSync::fresh(const Name& name, std::uint64_t id) const {
  if (relayed_.contains({name, id})) {
    return false;
  }
  const auto own = local_.find(name);
  return own == local_.end() || own->second.id != id;
}

void PeerSync::announced(LinkIndex from, const Name& name, std::uint64_t id, std::uint8_t hop_limit) {
  if (id == 0) {
    return;  // cannot be told apart when it comes round
  }
  if (full_mesh_) {
    hop_limit = 0;
  }
  relayed_.insert_or_assign(RelayKey{name, id}, Relay{from, hop_limit});
  if (hop_limit >= 2) {
    ++counters_.names_relayed;
    tell_relayed(from, {true, name, id, hop_limit, database_.text_parts(name)});
  }
}

void PeerSync::withdrawn(LinkIndex from, const Name& name, std::uint64_t id, const Words& text) {
  const auto at = relayed_.find({name, id});
  if (at == relayed_.end() || at->second.from != from) {
    return;
  }
  const auto hop_limit = at->second.hop_limit;
  relayed_.erase(at);
  if (hop_limit >= 2) {
    ++counters_.names_relayed;
    tell_relayed(from, {false, name, id, hop_limit, text});
  }
}

void PeerSync::acknowledged(LinkIndex from, const SubscriptionAckBody& ack) {
  const auto peer = peers_.find(from);
  if (peer == peers_.end()) {
    return;
  }
  peer->second.unanswered.erase(ack.subscription_id);
  if (!ack.success) {
    ++counters_.peer_refusals;
  }
}

// --- what takes long ---------------------------------------------------------------------------------------------

bool PeerSync::sync_slice(LinkIndex link, Peer& peer) {
  std::uint32_t budget = kSyncSlice;
  if (peer.syncing_local) {
    auto at = peer.local_started ? local_.lower_bound(peer.local_next) : local_.begin();
    peer.local_started = true;
    for (; at != local_.end() && budget != 0; ++at, --budget) {
      tell(link, peer, {true, at->first, at->second.id, own_hops(), database_.text_parts(at->first)});
    }
    if (at != local_.end()) {
      peer.local_next = at->first;
      return true;
    }
    peer.syncing_local = !built_;  // names are still being learned; those are told as they come
  }
  if (peer.syncing_relayed) {
    auto at = peer.relay_started ? relayed_.lower_bound(peer.relay_next) : relayed_.begin();
    peer.relay_started = true;
    for (; at != relayed_.end() && budget != 0; ++at, --budget) {
      if (at->second.from != link && at->second.hop_limit >= 2) {
        tell(link, peer, {true, at->first.name, at->first.id, at->second.hop_limit, database_.text_parts(at->first.name)});
      }
    }
    peer.syncing_relayed = at != relayed_.end();
    if (peer.syncing_relayed) {
      peer.relay_next = at->first;
    }
  }
  return peer.syncing_relayed;
}

bool PeerSync::pump(std::uint64_t now_ms) {
  now_ms_ = now_ms;
  if (!active_) {
    return false;
  }
  if (!built_) {
    build();
    return true;  // first all names, so that a slice need not be told twice
  }
  bool more = false;
  for (auto& [link, peer] : peers_) {
    if (peer.syncing_local || peer.syncing_relayed) {
      more |= sync_slice(link, peer);
    }
  }
  return more;
}

void PeerSync::tick(std::uint64_t now_ms) {
  now_ms_ = now_ms;
  for (auto& [link, peer] : peers_) {
    const NodeLink* l = links_.find(link, peer.generation);
    if (l == nullptr || peer.unanswered.empty()) {
      continue;
    }
    std::uint32_t budget = kSyncSlice;
    for (auto at = peer.unanswered.begin(); at != peer.unanswered.end() && budget != 0;) {
      auto& waiting = at->second;
      if (now_ms - waiting.sent_ms < kResendMs) {
        ++at;
        continue;
      }
      if (waiting.tries >= kMaxTries) {
        at = peer.unanswered.erase(at);
        continue;
      }
      ++waiting.tries;
      waiting.sent_ms = now_ms;
      ++counters_.announcements_resent;
      send_(l->record, waiting.frame);
      ++at;
      --budget;
    }
  }
}

}  // namespace slipway

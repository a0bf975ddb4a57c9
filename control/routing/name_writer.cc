#include "routing/name_writer.h"

#include <array>
#include <cassert>
#include <utility>

namespace slipway {
namespace {
// Fullest that a table gets before it grows. Above 0.88 inserts begin to fail while a third of the buckets is split:
// those not yet split draw twice as many names as the others.
constexpr std::uint64_t kFillNumerator = 84;
constexpr std::uint64_t kFillDenominator = 100;
constexpr int kMaxExtraSplits = 64;  // when a small table has a knot of names that share few buckets
}  // namespace

NameWriter::NameWriter(const RouteSecret& secret, std::uint32_t max_names, std::uint32_t max_buckets)
    : secret_(secret),
      range_(BucketRange::of(RouteTable::kFirstBuckets)),
      max_buckets_(max_buckets),
      owner_(std::size_t{max_buckets} * kSlots),
      tag_(std::size_t{max_buckets} * kSlots),
      filter_(max_buckets),
      away_list_(max_buckets / kHomesPerList + 1),
      away_(max_names) {
  if (valid()) {
    owner_.resize(std::size_t{range_.buckets} * kSlots);
    tag_.resize(owner_.size());
    filter_.resize(range_.buckets);
    away_list_.resize(range_.buckets / kHomesPerList + 1);
  }
}

bool NameWriter::valid() const {
  return owner_.valid() && tag_.valid() && filter_.valid() && away_list_.valid() && away_.valid();
}

void NameWriter::connect(const NameSource* source, Post post, Extend extend) {
  source_ = source;
  post_ = std::move(post);
  extend_ = std::move(extend);
}

std::size_t NameWriter::bytes() const {
  return owner_.bytes() + tag_.bytes() + filter_.bytes() + away_list_.bytes() + away_.bytes();
}

std::uint32_t NameWriter::find_slot(const Name& name, RouteEvidence evidence) const {
  const std::uint32_t home = range_.at(evidence.home_hash());
  for (const std::uint32_t bucket : {home, range_.at(evidence.other_hash())}) {
    for (std::uint32_t slot = bucket * kSlots; slot < (bucket + 1) * kSlots; ++slot) {
      if (owner_[slot] != 0 && tag_[slot] == evidence.tag() && source_->name_of(owner_[slot]) == name) {
        return slot;
      }
    }
    if ((~filter_[home] & filter_bits(evidence.home_hash())) != 0) {
      break;
    }
  }
  return kNoSlot;
}

NameOwner NameWriter::find(const Name& name) const {
  const std::uint32_t slot = find_slot(name, mix_name(secret_, name));
  return slot == kNoSlot ? 0 : owner_[slot];
}

// Both buckets follow from the evidence, so that a name with equal evidence can be in no third.
bool NameWriter::collides(RouteEvidence evidence) const {
  for (const std::uint32_t hash : {evidence.home_hash(), evidence.other_hash()}) {
    const std::uint32_t bucket = range_.at(hash);
    for (std::uint32_t slot = bucket * kSlots; slot < (bucket + 1) * kSlots; ++slot) {
      if (owner_[slot] != 0 && tag_[slot] == evidence.tag() && evidence_of(owner_[slot]) == evidence) {
        return true;
      }
    }
  }
  return false;
}

std::uint32_t NameWriter::free_slot(std::uint32_t bucket) const {
  for (std::uint32_t slot = bucket * kSlots; slot < (bucket + 1) * kSlots; ++slot) {
    if (owner_[slot] == 0) {
      return slot;
    }
  }
  return kNoSlot;
}

std::expected<void, InsertFault> NameWriter::insert(const Name& name, NameOwner owner, RouteMatch match) {
  const RouteEvidence evidence = mix_name(secret_, name);
  if (collides(evidence)) {
    return std::unexpected(InsertFault::kCollision);
  }
  while (std::uint64_t{names_ + 1} * kFillDenominator > std::uint64_t{range_.buckets} * kSlots * kFillNumerator && split()) {
  }
  std::uint32_t slot = make_room(evidence);
  for (int tries = 0; slot == kNoSlot && tries < kMaxExtraSplits && split(); ++tries) {
    slot = make_room(evidence);
  }
  if (slot == kNoSlot) {
    return std::unexpected(InsertFault::kFull);
  }
  owner_[slot] = owner;
  tag_[slot] = evidence.tag();
  ++names_;
  if (slot / kSlots != range_.at(evidence.home_hash())) {
    add_away(evidence.home_hash(), slot);
  }
  post_place(RouteOp::kSetSlot, slot, 0, evidence, match);
  return {};
}

// A free slot in one of the two buckets, made by moving others if need be: breadth first, so that the fewest move.
std::uint32_t NameWriter::make_room(RouteEvidence evidence) {
  struct Step {
    std::uint32_t bucket;
    std::uint32_t from;  // the slot whose name would come here
    std::uint32_t parent;
  };
  std::array<Step, kMaxSearch> steps;
  std::uint32_t count = 0;
  steps[count++] = {range_.at(evidence.home_hash()), kNoSlot, 0};
  steps[count++] = {range_.at(evidence.other_hash()), kNoSlot, 0};
  for (std::uint32_t k = 0; k < count; ++k) {
    std::uint32_t room = free_slot(steps[k].bucket);
    if (room != kNoSlot) {
      for (std::uint32_t at = k; steps[at].from != kNoSlot; at = steps[at].parent) {
        move(steps[at].from, room);
        room = steps[at].from;
      }
      return room;
    }
    for (std::uint32_t slot = steps[k].bucket * kSlots; slot < (steps[k].bucket + 1) * kSlots && count < kMaxSearch; ++slot) {
      const RouteEvidence there = evidence_of(owner_[slot]);
      const std::uint32_t home = range_.at(there.home_hash());
      const std::uint32_t target = home == steps[k].bucket ? range_.at(there.other_hash()) : home;
      bool seen = false;  // a bucket twice on a path would move a name that is no longer where the path says
      for (std::uint32_t i = 0; i < count && !seen; ++i) {
        seen = steps[i].bucket == target;
      }
      if (!seen) {
        steps[count++] = {target, slot, k};
      }
    }
  }
  return kNoSlot;
}

// The filter bit appears before a name leaves home and goes after it has come back.
void NameWriter::move(std::uint32_t from, std::uint32_t to) {
  const NameOwner owner = owner_[from];
  const RouteEvidence evidence = evidence_of(owner);
  const std::uint32_t home = range_.at(evidence.home_hash());
  assert(owner != 0 && owner_[to] == 0 && from / kSlots != to / kSlots);
  if (from / kSlots == home) {
    add_away(evidence.home_hash(), to);
  }
  owner_[to] = owner;
  tag_[to] = tag_[from];
  owner_[from] = 0;
  post_place(RouteOp::kMove, from, to, {}, {});
  if (to / kSlots == home) {
    remove_away(evidence.home_hash(), from);
  }
}

// The new last bucket takes over half of what its image holds.
bool NameWriter::split() {
  if (range_.buckets >= max_buckets_ || !extend_(range_.buckets + 1)) {
    return false;
  }
  const BucketRange before = range_;
  const std::uint32_t from = before.next_split();
  const std::uint32_t target = before.buckets;
  range_ = BucketRange::of(target + 1);
  owner_.resize(std::size_t{range_.buckets} * kSlots);
  tag_.resize(owner_.size());
  filter_.resize(range_.buckets);
  away_list_.resize(range_.buckets / kHomesPerList + 1);
  // Names outside home whose home is now the new bucket change lists.
  std::uint32_t* link = &away_list_[from / kHomesPerList];
  while (*link != 0) {
    const std::uint32_t number = *link;
    Away& away = away_[number];
    if (range_.at(away.home_hash) == target) {
      *link = away.next;
      away.next = std::exchange(away_list_[target / kHomesPerList], number);
    } else {
      link = &away.next;
    }
  }
  RouteUpdate update;
  update.op = RouteOp::kSplit;
  update.place = {.evidence = 0, .slot = from, .target = target, .value = 0};
  for (std::uint32_t i = 0; i < kSlots; ++i) {
    const std::uint32_t slot = from * kSlots + i;
    if (owner_[slot] == 0) {
      continue;
    }
    const RouteEvidence evidence = evidence_of(owner_[slot]);
    const bool at_home = before.at(evidence.home_hash()) == from;
    if (range_.at(at_home ? evidence.home_hash() : evidence.other_hash()) != target) {
      continue;
    }
    const std::uint32_t to = target * kSlots + i;
    owner_[to] = std::exchange(owner_[slot], 0);
    tag_[to] = tag_[slot];
    update.mask |= static_cast<std::uint8_t>(1u << i);
    if (!at_home) {
      move_away(evidence.home_hash(), slot, to);
    }
  }
  filter_[from] = update.filter = filter_from_list(from);
  filter_[target] = update.target_filter = filter_from_list(target);
  post_(update);
  bring_home(from);
  bring_home(target);
  return true;
}

// Names of this home bucket that lie elsewhere come back while there is room.
void NameWriter::bring_home(std::uint32_t home) {
  std::uint32_t number = filter_[home] == 0 ? 0 : away_list_[home / kHomesPerList];
  while (number != 0) {
    const Away away = away_[number];
    number = away.next;
    if (range_.at(away.home_hash) != home) {
      continue;
    }
    const std::uint32_t room = free_slot(home);
    if (room == kNoSlot) {
      return;
    }
    move(away.slot, room);
  }
}

void NameWriter::set_match(const Name& name, RouteMatch match) {
  const std::uint32_t slot = find_slot(name, mix_name(secret_, name));
  assert(slot != kNoSlot);
  post_place(RouteOp::kValue, slot, 0, {}, match);
}

void NameWriter::erase(const Name& name) {
  const RouteEvidence evidence = mix_name(secret_, name);
  const std::uint32_t slot = find_slot(name, evidence);
  assert(slot != kNoSlot);
  owner_[slot] = 0;
  --names_;
  post_place(RouteOp::kClear, slot, 0, {}, {});
  if (slot / kSlots != range_.at(evidence.home_hash())) {
    remove_away(evidence.home_hash(), slot);
  }
  bring_home(slot / kSlots);
}

void NameWriter::add_away(std::uint32_t home_hash, std::uint32_t slot) {
  const std::uint32_t home = range_.at(home_hash);
  const std::uint32_t number = away_.take();
  std::uint32_t& head = away_list_[home / kHomesPerList];
  away_[number] = {slot, head, home_hash};
  head = number;
  if (const std::uint16_t bits = filter_bits(home_hash); (~filter_[home] & bits) != 0) {
    filter_[home] |= bits;
    post_filter(home);
  }
}

void NameWriter::remove_away(std::uint32_t home_hash, std::uint32_t slot) {
  const std::uint32_t home = range_.at(home_hash);
  std::uint32_t* link = &away_list_[home / kHomesPerList];
  while (away_[*link].slot != slot) {
    link = &away_[*link].next;
    assert(*link != 0);
  }
  const std::uint32_t number = *link;
  *link = away_[number].next;
  away_.give_back(number);
  const std::uint16_t filter = filter_from_list(home);
  if (filter != filter_[home]) {
    filter_[home] = filter;
    post_filter(home);
  }
}

void NameWriter::move_away(std::uint32_t home_hash, std::uint32_t from, std::uint32_t to) {
  std::uint32_t number = away_list_[range_.at(home_hash) / kHomesPerList];
  while (away_[number].slot != from) {
    number = away_[number].next;
    assert(number != 0);
  }
  away_[number].slot = to;
}

std::uint16_t NameWriter::filter_from_list(std::uint32_t home) const {
  std::uint16_t filter = 0;
  for (std::uint32_t number = away_list_[home / kHomesPerList]; number != 0; number = away_[number].next) {
    if (range_.at(away_[number].home_hash) == home) {
      filter |= filter_bits(away_[number].home_hash);
    }
  }
  return filter;
}

void NameWriter::post_filter(std::uint32_t bucket) {
  RouteUpdate update;
  update.op = RouteOp::kFilter;
  update.filter = filter_[bucket];
  update.place = {.evidence = 0, .slot = bucket, .target = 0, .value = 0};
  post_(update);
}

void NameWriter::post_place(RouteOp op, std::uint32_t slot, std::uint32_t target, RouteEvidence evidence,
                            RouteMatch match) {
  RouteUpdate update;
  update.op = op;
  update.place = {.evidence = evidence.bits, .slot = slot, .target = target, .value = match.value()};
  post_(update);
}

void NameWriter::fill(RouteTable& table) const {
  RouteUpdate update;
  update.op = RouteOp::kSplit;
  for (std::uint32_t buckets = RouteTable::kFirstBuckets; buckets < range_.buckets; ++buckets) {
    update.place = {.evidence = 0, .slot = BucketRange::of(buckets).next_split(), .target = buckets, .value = 0};
    table.apply(update);
  }
  for (std::uint32_t bucket = 0; bucket < range_.buckets; ++bucket) {
    if (filter_[bucket] != 0) {
      update.op = RouteOp::kFilter;
      update.filter = filter_[bucket];
      update.place.slot = bucket;
      table.apply(update);
    }
    for (std::uint32_t slot = bucket * kSlots; slot < (bucket + 1) * kSlots; ++slot) {
      if (owner_[slot] == 0) {
        continue;
      }
      const RouteEvidence evidence = evidence_of(owner_[slot]);
      update.op = RouteOp::kSetSlot;
      update.place = {.evidence = evidence.bits, .slot = slot, .target = 0,
                      .value = source_->match_of(owner_[slot]).value()};
      table.apply(update);
    }
  }
}

}  // namespace slipway

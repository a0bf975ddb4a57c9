// What a worker does with its routes: look a burst up, choose links, apply changes.
#include "route/route_table.h"

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstring>
#include <utility>

#include "route/route_lookup.h"
#include "route/route_mix.h"

namespace slipway {
namespace {

using Bucket = RouteTable::Bucket;
using Line = RouteTable::Line;
using Summary = RouteTable::Summary;
constexpr std::uint32_t kSlots = RouteTable::kSlots;

inline Summary summarize(const Bucket& bucket, std::uint16_t filter) {
  Summary summary = filter;
  for (std::uint32_t i = kSlots; i != 0; --i) {
    summary = summary << kShortBits | RouteEvidence{bucket.evidence[i - 1]}.short_form();
  }
  return summary;
}

inline void move_name(Bucket& from, std::uint32_t i, Bucket& to, std::uint32_t j) {
  to.evidence[j] = std::exchange(from.evidence[i], 0);
  to.value[j] = std::exchange(from.value[i], 0);
}

}  // namespace

// cost, 32 names a burst in random order (bench/table; 2-CPU guest, Sapphire Rapids, small pages, other work running):
//   expected: 2 ns of mixing; a hit reads its summary and one bucket, two lines one after the other; a miss its summary,
//   and one in forty another's;
//   measured, lookup_wide: hits 7 ns at 16 k names, 20 at 1 M; misses 3.5 and 6.
// With summaries of 32 bits, more exact or not, nearly every burst of misses had one that read a bucket: at 130 ns from the
// shared cache that one cost as much as all others together.
// No branch on what a line or a summary holds: it would be guessed before that is there, and a wrong guess throws away
// the work on all that follow. Names that need a second look are put on lists instead.
void RouteTable::lookup_plain(std::span<const std::byte* const> destinations, RouteMatch* matches) const {
  struct Place {
    std::uint32_t name;
    std::uint32_t bucket;
  };
  std::array<RouteEvidence, kMaxBurst> evidence;
  std::array<std::uint32_t, kMaxBurst> home;
  std::array<Place, kMaxBurst + 1> places;  // one more, here and below: written before it is counted
  std::array<std::uint8_t, kMaxBurst + 1> again;
  const std::size_t count = destinations.size();
  assert(count <= kMaxBurst);
  const BucketRange range = range_;
  for (std::size_t i = 0; i < count; ++i) {
    evidence[i] = mix_wire(secret_, destinations[i]);
    home[i] = range.at(evidence[i].home_hash());
    prefetch(summaries_ + home[i]);
    matches[i] = RouteMatch();
  }
  std::size_t to_read = 0;
  std::size_t elsewhere = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const Summary summary = summaries_[home[i]];
    const std::uint32_t here = may_hold(summary, evidence[i]);
    places[to_read] = {static_cast<std::uint32_t>(i), home[i]};
    to_read += here;
    prefetch(buckets_ + (home[i] & (0u - here)));  // of bucket 0 for nothing: it is near
    again[elsewhere] = static_cast<std::uint8_t>(i);
    elsewhere += may_be_away(summary, evidence[i]) & ~here;
  }
  for (std::size_t k = 0; k < elsewhere; ++k) {
    const std::uint32_t i = again[k];
    const std::uint32_t other = range.at(evidence[i].other_hash());
    const std::uint32_t there = may_hold(summaries_[other], evidence[i]);
    places[to_read] = {i, other};
    to_read += there;
    prefetch(buckets_ + (other & (0u - there)));
  }
  std::size_t unsure = 0;
  for (std::size_t k = 0; k < to_read; ++k) {
    const auto [i, bucket] = places[k];
    matches[i] = match_in(buckets_[bucket], evidence[i]);
    // Line 0 is nobody's group: where there is none, a prefetch of a line that is there anyway costs less than a branch.
    prefetch(lines_ + (matches[i].is_group() ? matches[i].line() : 0));
    again[unsure] = static_cast<std::uint8_t>(i);
    unsure += static_cast<std::size_t>(!matches[i].found()) & may_be_away(summaries_[home[i]], evidence[i]);
  }
  for (std::size_t k = 0; k < unsure; ++k) {  // few: another name's short form was taken for this one's
    const std::size_t i = again[k];
    matches[i] = match_in(buckets_[range.at(evidence[i].other_hash())], evidence[i]);
  }
}

RouteMatch RouteTable::lookup_one(const Name& name) const {
  const RouteEvidence evidence = mix_name(secret_, name);
  const std::uint32_t home = range_.at(evidence.home_hash());
  const RouteMatch match = match_in(buckets_[home], evidence);
  if (match.found() || may_be_away(summaries_[home], evidence) == 0) {
    return match;
  }
  return match_in(buckets_[range_.at(evidence.other_hash())], evidence);
}

void RouteTable::apply(const RouteUpdate& update) {
  if (update.op == RouteOp::kWords) {
    assert(update.count <= RouteUpdate::kMaxWords);
    for (std::uint32_t i = 0; i < update.count; ++i) {
      const std::uint32_t at = update.words[i].at;
      assert(at / kLineWords < limits_.lines);
      lines_[at / kLineWords].word[at % kLineWords] = update.words[i].value;
    }
    return;
  }
  const auto& place = update.place;
  // The summary of a bucket follows from the bucket, but for the filter, which the control thread tells.
  const auto refresh = [this](std::uint32_t bucket) {
    summaries_[bucket] = summarize(buckets_[bucket], static_cast<std::uint16_t>(summaries_[bucket] >> kFilterShift));
  };
  if (update.op == RouteOp::kFilter) {
    assert(place.slot < range_.buckets);
    summaries_[place.slot] = summarize(buckets_[place.slot], update.filter);
    return;
  }
  if (update.op == RouteOp::kSplit) {
    assert(place.slot < place.target && place.target == range_.buckets && place.target < limits_.buckets);
    Bucket& from = buckets_[place.slot];
    Bucket& to = buckets_[place.target];
    for (std::uint32_t i = 0; i < kSlots; ++i) {
      if ((update.mask >> i & 1) != 0) {
        move_name(from, i, to, i);
      }
    }
    summaries_[place.slot] = summarize(from, update.filter);
    summaries_[place.target] = summarize(to, update.target_filter);
    range_ = BucketRange::of(place.target + 1);
    return;
  }
  const std::uint32_t number = place.slot / kSlots;
  assert(number < range_.buckets);
  Bucket& bucket = buckets_[number];
  const std::uint32_t i = place.slot % kSlots;
  switch (update.op) {
    case RouteOp::kSetSlot:
      bucket.evidence[i] = place.evidence;
      bucket.value[i] = place.value;
      break;
    case RouteOp::kValue:
      bucket.value[i] = place.value;
      return;
    case RouteOp::kMove:
      assert(place.target / kSlots < range_.buckets);
      move_name(bucket, i, buckets_[place.target / kSlots], place.target % kSlots);
      refresh(place.target / kSlots);
      break;
    default:
      assert(update.op == RouteOp::kClear);
      bucket.evidence[i] = 0;
      bucket.value[i] = 0;
      break;
  }
  refresh(number);
}

namespace {

struct Run {
  std::uint32_t begin = 0;
  std::uint32_t count = 0;
};

inline bool rank_allowed(ClassMask classes, std::uint32_t rank) { return (classes & class_bit(class_of_rank(rank))) != 0; }

struct Runs {
  std::array<std::uint32_t, kLinkClasses + 1> begin;  // by group_rank; the last: how many there are in all

  explicit Runs(const Line& group) {
    std::array<std::uint16_t, kLinkClasses> count;
    std::memcpy(count.data(), group.word + group_word::kCounts, sizeof count);
    begin[0] = 0;
    for (std::uint32_t c = 0; c < kLinkClasses; ++c) {
      begin[c + 1] = begin[c] + count[c];
    }
  }
  [[nodiscard]] Run of(std::uint32_t first_rank, std::uint32_t last_rank) const {
    return {begin[first_rank], begin[last_rank + 1] - begin[first_rank]};
  }
};

// The line and first word where link `index` of a group lies, and the end of that stretch of links.
inline const std::uint32_t* find_link(const Line* lines, const Line& group, std::uint32_t index, std::uint32_t* stretch) {
  std::uint32_t depth = group.word[group_word::kDepth];
  if (depth == 0) {
    *stretch = group_word::kInlineLinks - index;
    return group.word + group_word::kInline + index;
  }
  const Line* line = lines + group.word[group_word::kRoot];
  while (--depth != 0) {
    line = lines + line->word[index >> (4 * depth) & 15];
  }
  *stretch = RouteTable::kLineWords - (index & 15);
  return line->word + (index & 15);
}

inline std::uint32_t link_at(const Line* lines, const Line& group, std::uint32_t index) {
  std::uint32_t stretch = 0;
  return *find_link(lines, group, index, &stretch);
}

// Reads and writes one of the four 16-bit cursors.
inline std::uint32_t load_cursor(const Line& group, std::uint32_t which) {
  std::uint16_t value;
  std::memcpy(&value, reinterpret_cast<const std::byte*>(group.word + group_word::kCursors) + 2 * which, sizeof value);
  return value;
}
inline void store_cursor(Line& group, std::uint32_t which, std::uint32_t value) {
  const auto narrow = static_cast<std::uint16_t>(value);
  std::memcpy(reinterpret_cast<std::byte*>(group.word + group_word::kCursors) + 2 * which, &narrow, sizeof narrow);
}

// The cursor is an index below the count, not a count of choices: no division, and no jump where 16 bits wrap.
inline std::uint32_t round_robin(const Line* lines, Line& group, Run run, std::uint32_t which, std::uint32_t ingress) {
  std::uint32_t at = load_cursor(group, which);
  for (int tries = 0; tries < 2; ++tries) {  // a link stands in a group once: the second is not the ingress again
    at = at < run.count ? at : 0;
    const std::uint32_t link = link_at(lines, group, run.begin + at);
    ++at;
    if (link != ingress) {
      store_cursor(group, which, at);
      return link;
    }
  }
  return kNoLink;
}

// Compares up to kLeastLoadedWindow links from the cursor on, which moves by one: ties take turns, and a large
// group costs no more than a small one.
inline std::uint32_t least_loaded(const Line* lines, Line& group, Run run, std::uint32_t which, std::uint32_t ingress,
                                  const std::uint32_t* load) {
  std::uint32_t at = load_cursor(group, which);
  at = at < run.count ? at : 0;
  store_cursor(group, which, at + 1);
  std::uint32_t best = kNoLink;
  for (std::uint32_t i = 0; i < std::min(run.count, kLeastLoadedWindow); ++i) {
    const std::uint32_t link = link_at(lines, group, run.begin + at);
    if (link != ingress && (best == kNoLink || load[link] < load[best])) {
      best = link;
    }
    at = at + 1 < run.count ? at + 1 : 0;
  }
  return best;
}

}  // namespace

// cost: a single costs two compares; a group of up to ten one line, which lookup() has prefetched; each factor of
// sixteen above that one dependent line.
LinkIndex RouteTable::choose_one(RouteMatch match, LinkIndex ingress, const AnycastRules& rules) {
  if (!match.is_group()) {
    const bool allowed = (rules.classes & class_bit(match.link_class())) != 0 && match.link() != ingress;
    return allowed ? match.link() : kNoLink;
  }
  using C = LinkClass;
  constexpr std::uint8_t kEnd = 0xFF;
  struct Tier {
    std::uint8_t first;
    std::uint8_t last;
  };
  constexpr auto tier = [](C first, C last) {
    return Tier{static_cast<std::uint8_t>(group_rank(first)), static_cast<std::uint8_t>(group_rank(last))};
  };
  constexpr std::array<std::array<Tier, 4>, 2> kOrders = {{
      {tier(C::kLocal, C::kEdge), tier(C::kPeer, C::kPeer), tier(C::kRemote, C::kRemote), Tier{kEnd, kEnd}},
      {tier(C::kLocal, C::kLocal), tier(C::kRemote, C::kRemote), tier(C::kPeer, C::kPeer), tier(C::kEdge, C::kEdge)},
  }};
  Line& group = lines_[match.line()];
  const Runs runs(group);
  for (Tier t : kOrders[static_cast<std::size_t>(rules.order)]) {
    if (t.first == kEnd) {
      break;
    }
    while (t.first < t.last && !rank_allowed(rules.classes, t.first)) {
      ++t.first;
    }
    while (t.last > t.first && !rank_allowed(rules.classes, t.last)) {
      --t.last;
    }
    const Run run = runs.of(t.first, t.last);
    if (run.count == 0 || !rank_allowed(rules.classes, t.first)) {
      continue;
    }
    std::uint32_t link = kNoLink;
    if (run.count == 1) {
      link = link_at(lines_, group, run.begin);
      link = link == ingress ? kNoLink : link;
    } else if (rules.policy == AnycastPolicy::kLeastLoaded && rules.load != nullptr) {
      link = least_loaded(lines_, group, run, t.first, ingress, rules.load);
    } else {
      link = round_robin(lines_, group, run, t.first, ingress);
    }
    if (link != kNoLink) {
      return link;
    }
  }
  return kNoLink;
}

std::uint32_t RouteTable::link_count(RouteMatch match, ClassMask classes) const {
  if (!match.is_group()) {
    return match.found() && (classes & class_bit(match.link_class())) != 0 ? 1 : 0;
  }
  const Runs runs(lines_[match.line()]);
  std::uint32_t total = 0;
  for (std::uint32_t rank = 0; rank < kLinkClasses; ++rank) {
    total += rank_allowed(classes, rank) ? runs.of(rank, rank).count : 0;
  }
  return total;
}

namespace {

// Where the allowed links with numbers from `number` on lie: index in the group, and how many follow in the class.
inline Run allowed_run(const Runs& runs, ClassMask classes, std::uint32_t number) {
  if (classes == kAllClasses) {
    return {number, runs.begin[kLinkClasses] - number};
  }
  for (std::uint32_t rank = 0; rank < kLinkClasses; ++rank) {
    const Run run = runs.of(rank, rank);
    if (!rank_allowed(classes, rank)) {
      continue;
    }
    if (number < run.count) {
      return {run.begin + number, run.count - number};
    }
    number -= run.count;
  }
  return {};
}

}  // namespace

// cost: copies stretches of up to sixteen links: about 1 ns a link, and one line for each sixteen.
std::uint32_t RouteTable::collect_links(RouteMatch match, LinkIndex ingress, ClassMask classes, FanoutPosition& at,
                                        std::span<LinkIndex> out) const {
  const std::uint32_t total = link_count(match, classes);
  std::uint32_t written = 0;
  if (!match.is_group()) {
    if (at.done < total && match.link() != ingress && !out.empty()) {
      out[written++] = match.link();
    }
    at.done = total;
    at.finished = true;
    return written;
  }
  const Line& group = lines_[match.line()];
  const Runs runs(group);
  at.start = at.start < total ? at.start : (total == 0 ? 0 : at.start % total);
  while (at.done < total && written < out.size()) {
    const std::uint32_t ahead = at.start + at.done;
    const std::uint32_t number = ahead < total ? ahead : ahead - total;
    const Run run = allowed_run(runs, classes, number);
    std::uint32_t stretch = 0;
    const std::uint32_t* links = find_link(lines_, group, run.begin, &stretch);
    const auto room = static_cast<std::uint32_t>(out.size()) - written;
    const std::uint32_t take = std::min({stretch, run.count, total - at.done, room});
    for (std::uint32_t i = 0; i < take; ++i) {
      out[written] = links[i];
      written += links[i] != ingress ? 1 : 0;
    }
    at.done += take;
  }
  at.finished = at.done >= total;
  return written;
}

}  // namespace slipway

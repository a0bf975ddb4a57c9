#pragma once
// One worker's private copy of the routes: which links lead to a name.
//
// The control thread creates a table, fills it and keeps its memory backed (create, extend); from then on
// only the worker that owns it looks names up (lookup, choose_one, collect_links) and applies changes between
// two bursts (apply). Nothing here locks, allocates or enters the kernel after create and extend.
//
// Use, once a burst:
//   std::array<const std::byte*, kMaxBurst> destinations;   // each at the 40 bytes of a frame's destination
//   std::array<RouteMatch, kMaxBurst> matches;
//   table.lookup({destinations.data(), n}, matches.data());
//   anycast:   link = table.choose_one(matches[i], ingress, rules);            // kNoLink: nobody
//   multicast: FanoutPosition at{.start = counter++};
//              while (!at.finished) { n = table.collect_links(matches[i], ingress, classes, at, out); ... }
//
// A key is three component hashes and an id. An id that is not null matches subscriptions of exactly that id;
// the null id matches every subscription of the prefix. Which of the two a frame asks for is in its bytes: the
// table holds one entry for each.
//
// Layout. Two areas of 64-byte lines. A bucket holds five names: 64 bits of evidence and 32 bits of value each. A name
// lies in its home bucket or in one other. A third area has 64 bits a bucket, its summary: ten bits of each of its
// names' evidence, and a filter of fourteen bits for those of its names that lie elsewhere. At a million names that
// is 1.9 MB, near the core where the buckets are not: a hit reads the one bucket that holds the name, a miss hardly
// ever reads any. A value is a single link, or the line of a group: counts, round-robin cursors and up to ten links,
// behind which stands a tree of lines of sixteen. The links of a group are ordered by class, so that each class is
// one run.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <utility>

#include "base/link.h"
#include "bounds.h"
#include "route/route_key.h"
#include "route/route_update.h"

namespace slipway {

// Where a class stands inside a group: local and edge adjacent, because "nearest" treats them alike.
[[nodiscard]] constexpr std::uint32_t group_rank(LinkClass c) {
  constexpr std::uint8_t kRanks[] = {0, 3, 2, 1};
  static_assert(kLinkClasses == 4 && static_cast<int>(LinkClass::kEdge) == 3 && static_cast<int>(LinkClass::kPeer) == 2);
  return kRanks[static_cast<unsigned>(c)];
}
[[nodiscard]] constexpr LinkClass class_of_rank(std::uint32_t rank) {
  return static_cast<LinkClass>(group_rank(static_cast<LinkClass>(rank)));  // its own inverse
}

// A set of classes, one bit each.
using ClassMask = std::uint8_t;
[[nodiscard]] constexpr ClassMask class_bit(LinkClass c) { return static_cast<ClassMask>(1u << static_cast<unsigned>(c)); }
inline constexpr ClassMask kAllClasses = 0xF;
inline constexpr ClassMask kAllButPeer = kAllClasses & ~class_bit(LinkClass::kPeer);

// What a lookup found: nothing, one link, or a group of two and more. Valid until the next apply().
class RouteMatch {
 public:
  constexpr RouteMatch() = default;
  constexpr explicit RouteMatch(std::uint32_t value) : value_(value) {}

  static constexpr RouteMatch single(LinkIndex link, LinkClass link_class) {
    return RouteMatch(link | static_cast<std::uint32_t>(link_class) << kClassShift);
  }
  static constexpr RouteMatch group(std::uint32_t line) { return RouteMatch(line | kGroupBit); }

  [[nodiscard]] constexpr bool found() const { return value_ != 0; }
  [[nodiscard]] constexpr bool is_group() const { return (value_ & kGroupBit) != 0; }
  [[nodiscard]] constexpr LinkIndex link() const { return value_ & kLinkMask; }             // of a single
  [[nodiscard]] constexpr LinkClass link_class() const { return static_cast<LinkClass>(value_ >> kClassShift & 3); }
  [[nodiscard]] constexpr std::uint32_t line() const { return value_ & (kGroupBit - 1); }       // of a group
  [[nodiscard]] constexpr std::uint32_t value() const { return value_; }
  friend constexpr bool operator==(RouteMatch, RouteMatch) = default;

 private:
  static constexpr std::uint32_t kClassShift = 27;
  static constexpr std::uint32_t kLinkMask = (1u << kClassShift) - 1;
  static constexpr std::uint32_t kGroupBit = 1u << 29;
  std::uint32_t value_ = 0;
};
static_assert(kMaxLinks <= 1u << 27);

enum class AnycastOrder : std::uint8_t {
  kNearest,   // local and edge alike, then peer, then remote
  kUpstream,  // local, remote, peer, edge: the reference node's order
};
enum class AnycastPolicy : std::uint8_t { kRoundRobin, kLeastLoaded };

struct AnycastRules {
  AnycastOrder order = AnycastOrder::kNearest;
  AnycastPolicy policy = AnycastPolicy::kRoundRobin;
  ClassMask classes = kAllClasses;
  const std::uint32_t* load = nullptr;  // kLeastLoaded: kMaxLinks values, indexed by link
};

// Where a fan-out stands. Start it with {.start = any counter}: it rotates who is served first.
struct FanoutPosition {
  std::uint32_t start = 0;
  std::uint32_t done = 0;  // links passed so far, the ingress included
  bool finished = false;
};

// Lines in use, for extend() and for the figures people see.
struct TableExtent {
  std::uint32_t buckets = 0;
  std::uint32_t lines = 0;
};

struct TableMemory {
  std::size_t used_bytes = 0;    // buckets with their summaries, and lines, in use
  std::size_t mapped_bytes = 0;  // backed by memory: grows in steps of 2 MiB an area
  bool huge_pages = false;       // every step is a reserved huge page; otherwise transparent ones were advised
};

class RouteTable {
 public:
  // Control thread. Reserves address space for `max_names` names (an id is one, its prefix is another) and backs
  // the first step of it. The error says what the kernel refused and what to try.
  static std::expected<RouteTable, std::string> create(const RouteSecret& secret, std::uint32_t max_names);

  RouteTable() = default;
  RouteTable(RouteTable&& from) noexcept { *this = std::move(from); }
  RouteTable& operator=(RouteTable&& from) noexcept;
  RouteTable(const RouteTable&) = delete;
  RouteTable& operator=(const RouteTable&) = delete;
  ~RouteTable();

  // Control thread, also while the worker runs: backs memory up to `extent`, which the worker does not use yet.
  // Call it before posting an update that reaches there. The error leaves the table as it was.
  std::expected<void, std::string> extend(const TableExtent& extent);
  [[nodiscard]] TableExtent limits() const { return limits_; }
  // What a table for so many names may grow to. The control thread fills buckets to 0.84; a third more than
  // full buckets is room for that and for uneven growth. A group needs two members, and each line of its tree
  // sixteen more: one line a name is more than names can need.
  static constexpr TableExtent limits_for(std::uint32_t max_names) {
    return {max_names / kSlots + max_names / (kSlots * 3) + kFirstBuckets, max_names + kFirstBuckets};
  }

  // Owning worker, between two bursts (or the control thread before the worker starts). O(1): at most two
  // lines and their summaries for a name, seven words for a group.
  void apply(const RouteUpdate& update);

  // Owning worker. Up to kMaxBurst names; each pointer is at the 40 bytes of a frame's destination. Writes one
  // match a name.
  void lookup(std::span<const std::byte* const> destinations, RouteMatch* matches) const {
    if (wide_ && destinations.size() >= kLeastWide) {
      lookup_wide(destinations, matches);
    } else {
      lookup_plain(destinations, matches);
    }
  }
  [[nodiscard]] RouteMatch lookup_one(const Name& name) const;

  // Owning worker. One link out of a match, never the ingress; kNoLink when there is none. Advances the cursor.
  [[nodiscard]] LinkIndex choose_one(RouteMatch match, LinkIndex ingress, const AnycastRules& rules);

  // Owning worker. The next links of a fan-out, each once, never the ingress: fills `out`, returns how many, sets
  // at.finished after the last. Between two parts the caller may apply updates if it looks the name up again; a
  // member that stays is then served once, unless another leaves meanwhile, whose place the last takes: that one
  // may be served twice or not at all.
  std::uint32_t collect_links(RouteMatch match, LinkIndex ingress, ClassMask classes, FanoutPosition& at,
                              std::span<LinkIndex> out) const;
  // How many links a match has in these classes, the ingress included.
  [[nodiscard]] std::uint32_t link_count(RouteMatch match, ClassMask classes = kAllClasses) const;

  // Control thread. It knows how much is in use; the table knows what backs it.
  [[nodiscard]] TableMemory memory(const TableExtent& in_use) const;

  // Owning worker; for tests. A CPU with AVX-512 and VAES is used unless forbidden.
  [[nodiscard]] std::uint32_t buckets() const { return range_.buckets; }
  void allow_wide(bool allowed) { wide_ = allowed && cpu_is_wide(); }

  // One bucket, one line. Public for the control thread's mirror and for tests.
  static constexpr std::uint32_t kSlots = 5;
  static constexpr std::uint32_t kLineWords = 16;
  static constexpr std::uint32_t kFirstBuckets = 64;  // a new table has this many, all empty

  struct alignas(64) Bucket {
    std::uint64_t evidence[kSlots];  // 0 in an empty slot
    std::uint32_t value[kSlots];     // RouteMatch; none in an empty slot
    std::uint32_t unused;
  };
  struct alignas(64) Line {
    std::uint32_t word[kLineWords];
  };
  static_assert(sizeof(Bucket) == 64 && sizeof(Line) == 64);
  using Summary = std::uint64_t;  // of a bucket: the short forms of its names, above them the filter of those elsewhere
  static constexpr std::size_t kBucketBytes = sizeof(Bucket) + sizeof(Summary);

 private:
  static constexpr std::size_t kLeastWide = 4;  // below, eight at a time are no faster (measured)

  void unmap();
  void lookup_plain(std::span<const std::byte* const> destinations, RouteMatch* matches) const;
  void lookup_wide(std::span<const std::byte* const> destinations, RouteMatch* matches) const;
  static bool cpu_is_wide();

  RouteSecret secret_;
  BucketRange range_;
  Bucket* buckets_ = nullptr;
  Line* lines_ = nullptr;
  Summary* summaries_ = nullptr;
  bool wide_ = false;
  // Written by the control thread only.
  TableExtent limits_;
  std::size_t bucket_bytes_backed_ = 0;
  std::size_t line_bytes_backed_ = 0;
  std::size_t summary_bytes_backed_ = 0;
  bool huge_pages_ = true;
};
static_assert(alignof(RouteTable) >= 16);

// The words of a group's first line. Leaves and index lines behind it are sixteen words of links or lines.
namespace group_word {
inline constexpr std::uint32_t kRoot = 0;     // line of the tree's root when kDepth is not 0
inline constexpr std::uint32_t kDepth = 1;    // 0: links lie inline; 1: the root is a leaf; 2: an index of leaves ...
inline constexpr std::uint32_t kCounts = 2;   // two words: four 16-bit counts, by group_rank
inline constexpr std::uint32_t kCursors = 4;  // two words: four 16-bit cursors, by group_rank, written by the worker only
inline constexpr std::uint32_t kInline = 6;
inline constexpr std::uint32_t kInlineLinks = RouteTable::kLineWords - kInline;
}  // namespace group_word
static_assert(kMaxLinks <= 1u << 16, "counts and cursors are 16 bits");

}  // namespace slipway

#pragma once
// One change of a route table, as the control thread tells it to every worker. The control thread has worked out
// where things go; a worker only stores. Every record leaves the table valid for every name: a reader sees a
// name's old set of links or its new one, whatever number of records is applied between two bursts, as long
// as they are applied in the order in which they were posted. Trivially copyable, 64 bytes.

#include <array>
#include <cstdint>
#include <type_traits>

namespace slipway {

enum class RouteOp : std::uint8_t {
  kSetSlot,    // slot, evidence, value: a name appears in an empty slot
  kValue,      // slot, value: a name's set of links changes its form
  kMove,       // slot -> target: a name goes to its other bucket
  kClear,      // slot: a name is gone
  kFilter,     // slot = bucket, filter: the filter_bits of the names that have left this home bucket
  kSplit,      // slot = bucket, target = the new last bucket; mask of slots that go there; both filters
  kWords,      // count pairs of (word of the line area, value): groups
};

struct RouteUpdate {
  static constexpr std::uint32_t kMaxWords = 7;

  struct Word {
    std::uint32_t at;     // line * 16 + word
    std::uint32_t value;
  };

  struct Place {
    std::uint64_t evidence;
    std::uint32_t slot;
    std::uint32_t target;
    std::uint32_t value;
  };

  RouteOp op = RouteOp::kWords;
  std::uint8_t count = 0;
  std::uint8_t mask = 0;
  std::uint8_t spare = 0;
  std::uint16_t filter = 0;         // kFilter, kSplit: of the bucket in `slot`
  std::uint16_t target_filter = 0;  // kSplit: of the bucket in `target`
  union {
    Place place;
    std::array<Word, kMaxWords> words;
  };

  RouteUpdate() : words{} {}
};
static_assert(sizeof(RouteUpdate) == 64 && std::is_trivially_copyable_v<RouteUpdate>);

}  // namespace slipway

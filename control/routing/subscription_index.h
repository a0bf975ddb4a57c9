#pragma once
// How the indexes of the subscription database reach its records. Inside of this folder.

#include "routing/subscription_database.h"

namespace slipway {

// Numbers of records and links are ours, not a peer's: no secret needed.
inline std::uint64_t pair_hash(std::uint32_t record, LinkIndex link) {
  std::uint64_t h = (std::uint64_t{record} << kLinkIndexBits | link) * 0x9E3779B97F4A7C15u;
  return h ^ h >> 32;
}

struct SubscriptionDatabase::MemberAccess {
  const Slab<Member>& members;
  [[nodiscard]] std::uint32_t& next(std::uint32_t number) const {
    return const_cast<Slab<Member>&>(members)[number].next_in_index;
  }
  [[nodiscard]] std::uint64_t hash(std::uint32_t number) const {
    return pair_hash(members[number].entry, members[number].link);
  }
};

struct SubscriptionDatabase::PrefixMemberAccess {
  const Slab<PrefixMember>& members;
  [[nodiscard]] std::uint32_t& next(std::uint32_t number) const {
    return const_cast<Slab<PrefixMember>&>(members)[number].next_in_index;
  }
  [[nodiscard]] std::uint64_t hash(std::uint32_t number) const {
    return pair_hash(members[number].prefix, members[number].link);
  }
};

}  // namespace slipway

#pragma once
// Where names lie in the workers' tables. Knows which name holds which slot, decides where a new one goes, grows
// the table by one bucket at a time, and says each step as a RouteUpdate. Control thread.
//
// Five names a bucket, filled to 0.84: a name goes to its home bucket, else to its other one, else others are
// moved out of the way along a shortest path. Names outside their home bucket are kept in lists by home bucket, for
// the filter bits, and go home as soon as there is room.

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>

#include "frame/name.h"
#include "route/route_key.h"
#include "route/route_table.h"
#include "route/route_update.h"
#include "routing/slab.h"

namespace slipway {

// Who a slot belongs to; the owner's records tell the name. Never 0.
using NameOwner = std::uint32_t;

class NameSource {
 public:
  [[nodiscard]] virtual Name name_of(NameOwner owner) const = 0;
  [[nodiscard]] virtual RouteMatch match_of(NameOwner owner) const = 0;

 protected:
  ~NameSource() = default;
};

enum class InsertFault : std::uint8_t {
  kCollision,  // another name has the same evidence
  kFull,       // no place in reach, and the table may not grow
};

class NameWriter {
 public:
  using Post = std::function<void(const RouteUpdate&)>;
  using Extend = std::function<bool(std::uint32_t buckets)>;  // backs every worker's table up to so many buckets

  NameWriter() = default;
  NameWriter(const RouteSecret& secret, std::uint32_t max_names, std::uint32_t max_buckets);
  [[nodiscard]] bool valid() const;
  void connect(const NameSource* source, Post post, Extend extend);

  [[nodiscard]] NameOwner find(const Name& name) const;  // 0: not there
  std::expected<void, InsertFault> insert(const Name& name, NameOwner owner, RouteMatch match);
  void set_match(const Name& name, RouteMatch match);    // the name is there
  void erase(const Name& name);                          // the name is there

  // Writes all names into an empty table that has been extended to buckets().
  void fill(RouteTable& table) const;
  [[nodiscard]] std::uint32_t buckets() const { return range_.buckets; }
  [[nodiscard]] std::uint32_t names() const { return names_; }
  [[nodiscard]] std::uint32_t outside_home() const { return away_.in_use(); }
  [[nodiscard]] std::size_t bytes() const;

 private:
  static constexpr std::uint32_t kSlots = RouteTable::kSlots;
  static constexpr std::uint32_t kNoSlot = ~0u;
  static constexpr std::uint32_t kHomesPerList = 4;
  static constexpr std::uint32_t kMaxSearch = 256;  // buckets looked at for one free slot

  struct Away {  // one name outside its home bucket
    std::uint32_t slot;
    std::uint32_t next;
    std::uint32_t home_hash;
  };

  [[nodiscard]] RouteEvidence evidence_of(NameOwner owner) const { return mix_name(secret_, source_->name_of(owner)); }
  [[nodiscard]] std::uint32_t find_slot(const Name& name, RouteEvidence evidence) const;
  [[nodiscard]] bool collides(RouteEvidence evidence) const;
  [[nodiscard]] std::uint32_t free_slot(std::uint32_t bucket) const;
  [[nodiscard]] std::uint32_t make_room(RouteEvidence evidence);
  void move(std::uint32_t from, std::uint32_t to);
  bool split();
  void bring_home(std::uint32_t home);
  void add_away(std::uint32_t home_hash, std::uint32_t slot);
  void remove_away(std::uint32_t home_hash, std::uint32_t slot);
  void move_away(std::uint32_t home_hash, std::uint32_t from, std::uint32_t to);
  [[nodiscard]] std::uint16_t filter_from_list(std::uint32_t home) const;
  void post_filter(std::uint32_t bucket);
  void post_place(RouteOp op, std::uint32_t slot, std::uint32_t target, RouteEvidence evidence, RouteMatch match);

  RouteSecret secret_;
  const NameSource* source_ = nullptr;
  Post post_;
  Extend extend_;
  BucketRange range_;
  std::uint32_t max_buckets_ = 0;
  std::uint32_t names_ = 0;
  Growable<NameOwner> owner_;        // by slot
  Growable<std::uint8_t> tag_;       // by slot: eight bits of evidence, so that a search rarely looks at names
  Growable<std::uint16_t> filter_;   // by bucket
  Growable<std::uint32_t> away_list_;  // by home bucket / kHomesPerList
  Slab<Away> away_;
};

}  // namespace slipway

#pragma once
// Groups of links, as they lie in the workers' tables: one image of the lines, from which each change is worked out
// and told as RouteUpdates. A change touches at most seven words that a reader sees, in one record, whatever the
// size of the group; what it needs besides is written to lines that nobody reads yet. Control thread.

#include <cstdint>
#include <functional>
#include <utility>

#include "base/link.h"
#include "route/route_table.h"
#include "route/route_update.h"
#include "routing/slab.h"

namespace slipway {

class GroupWriter {
 public:
  using Post = std::function<void(const RouteUpdate&)>;
  using Extend = std::function<bool(std::uint32_t lines)>;  // backs every worker's table up to so many lines
  // A link of the group now stands at this position.
  using Moved = std::function<void(LinkIndex link, std::uint32_t position)>;

  // No change takes more lines than this: call reserve() with it for each change before making any.
  static constexpr std::uint32_t kLinesPerChange = 5;

  GroupWriter() = default;
  explicit GroupWriter(std::uint32_t max_lines);
  [[nodiscard]] bool valid() const { return lines_.valid(); }
  void connect(Post post, Extend extend);

  // False: the tables may not grow, or memory is short.
  [[nodiscard]] bool reserve(std::uint32_t lines);

  // A group of two. Nobody refers to it before the caller says so; moved() tells both positions.
  std::uint32_t create(LinkIndex first, LinkClass first_class, LinkIndex second, LinkClass second_class, const Moved& moved);
  // The group has one or two links, and nobody refers to it any more.
  void destroy(std::uint32_t group);
  void add(std::uint32_t group, LinkIndex link, LinkClass link_class, const Moved& moved);
  void remove(std::uint32_t group, std::uint32_t position, const Moved& moved);

  [[nodiscard]] std::uint32_t total(std::uint32_t group) const;
  [[nodiscard]] std::uint32_t count(std::uint32_t group, LinkClass link_class) const;
  [[nodiscard]] LinkIndex link_at(std::uint32_t group, std::uint32_t position) const;
  [[nodiscard]] LinkClass class_at(std::uint32_t group, std::uint32_t position) const;

  // Writes all lines into an empty table that has been extended to high_water().
  void fill(RouteTable& table) const;
  [[nodiscard]] std::uint32_t high_water() const { return lines_.high_water(); }  // lines ever used
  [[nodiscard]] std::size_t bytes() const { return lines_.bytes(); }

 private:
  void write(RouteUpdate& update, std::uint32_t line, std::uint32_t word, std::uint32_t value);
  void flush(RouteUpdate& update);
  [[nodiscard]] std::pair<std::uint32_t, std::uint32_t> place_of(std::uint32_t group, std::uint32_t position) const;
  void put(RouteUpdate& update, std::uint32_t group, std::uint32_t position, LinkIndex link);
  void change_count(RouteUpdate& update, std::uint32_t group, std::uint32_t rank, int by);
  [[nodiscard]] std::uint32_t count_of_rank(std::uint32_t group, std::uint32_t rank) const;
  void grow(std::uint32_t group, std::uint32_t total, RouteUpdate& last);
  void attach_path(std::uint32_t root, std::uint32_t depth, std::uint32_t position);
  void shrink(std::uint32_t group, std::uint32_t total, std::uint32_t old_root, std::uint32_t old_depth);

  Post post_;
  Extend extend_;
  Slab<RouteTable::Line> lines_;
  std::uint32_t max_lines_ = 0;
  std::uint32_t backed_ = 0;  // lines that every worker's table has
};

}  // namespace slipway

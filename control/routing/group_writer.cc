#include "routing/group_writer.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace slipway {
namespace {

using namespace group_word;
constexpr std::uint32_t kLineWords = RouteTable::kLineWords;
// A group goes back inline at half of what fits there, so that one link coming and going does not copy each time.
constexpr std::uint32_t kInlineAgain = kInlineLinks / 2;

// Links that a tree of this depth holds.
constexpr std::uint32_t capacity(std::uint32_t depth) { return depth == 0 ? kInlineLinks : 1u << (4 * depth); }

}  // namespace

GroupWriter::GroupWriter(std::uint32_t max_lines) : lines_(max_lines - 1), max_lines_(max_lines) {}

void GroupWriter::connect(Post post, Extend extend) {
  post_ = std::move(post);
  extend_ = std::move(extend);
}

bool GroupWriter::reserve(std::uint32_t lines) {
  // Freed lines are not counted on: high water is what tables must back in the worst case.
  const std::uint32_t wanted = std::min(lines_.high_water() + lines, max_lines_);
  if (lines_.in_use() + 1 + lines > max_lines_) {
    return false;
  }
  if (wanted > backed_) {
    if (!extend_(wanted)) {
      return false;
    }
    backed_ = wanted;
  }
  return true;
}

void GroupWriter::write(RouteUpdate& update, std::uint32_t line, std::uint32_t word, std::uint32_t value) {
  lines_[line].word[word] = value;
  assert(update.count < RouteUpdate::kMaxWords);
  update.words[update.count++] = {line * kLineWords + word, value};
}

void GroupWriter::flush(RouteUpdate& update) {
  if (update.count != 0) {
    post_(update);
    update = RouteUpdate();
  }
}

std::uint32_t GroupWriter::count_of_rank(std::uint32_t group, std::uint32_t rank) const {
  return lines_[group].word[kCounts + rank / 2] >> (16 * (rank % 2)) & 0xFFFF;
}

std::uint32_t GroupWriter::count(std::uint32_t group, LinkClass link_class) const {
  return count_of_rank(group, group_rank(link_class));
}

std::uint32_t GroupWriter::total(std::uint32_t group) const {
  std::uint32_t sum = 0;
  for (std::uint32_t rank = 0; rank < kLinkClasses; ++rank) {
    sum += count_of_rank(group, rank);
  }
  return sum;
}

void GroupWriter::change_count(RouteUpdate& update, std::uint32_t group, std::uint32_t rank, int by) {
  const std::uint32_t word = kCounts + rank / 2;
  const std::uint32_t step = 1u << (16 * (rank % 2));
  const std::uint32_t old = lines_[group].word[word];
  write(update, group, word, by > 0 ? old + step : old - step);
}

// Line and word of a position, by the image as it stands.
std::pair<std::uint32_t, std::uint32_t> GroupWriter::place_of(std::uint32_t group, std::uint32_t position) const {
  const auto& head = lines_[group];
  std::uint32_t depth = head.word[kDepth];
  if (depth == 0) {
    return {group, kInline + position};
  }
  std::uint32_t line = head.word[kRoot];
  while (--depth != 0) {
    line = lines_[line].word[position >> (4 * depth) & 15];
  }
  return {line, position & 15};
}

LinkIndex GroupWriter::link_at(std::uint32_t group, std::uint32_t position) const {
  const auto [line, word] = place_of(group, position);
  return lines_[line].word[word];
}

LinkClass GroupWriter::class_at(std::uint32_t group, std::uint32_t position) const {
  std::uint32_t rank = 0;
  std::uint32_t end = count_of_rank(group, 0);
  while (position >= end) {
    end += count_of_rank(group, ++rank);
  }
  return class_of_rank(rank);
}

void GroupWriter::put(RouteUpdate& update, std::uint32_t group, std::uint32_t position, LinkIndex link) {
  const auto [line, word] = place_of(group, position);
  write(update, line, word, link);
}

std::uint32_t GroupWriter::create(LinkIndex first, LinkClass first_class, LinkIndex second, LinkClass second_class,
                                  const Moved& moved) {
  std::uint32_t rank = group_rank(first_class);
  std::uint32_t second_rank = group_rank(second_class);
  if (second_rank < rank) {
    std::swap(rank, second_rank);
    std::swap(first, second);
  }
  const std::uint32_t group = lines_.take();
  std::uint32_t counts[2] = {0, 0};
  counts[rank / 2] += 1u << (16 * (rank % 2));
  counts[second_rank / 2] += 1u << (16 * (second_rank % 2));
  RouteUpdate update;
  write(update, group, kRoot, 0);
  write(update, group, kDepth, 0);
  write(update, group, kCounts, counts[0]);
  write(update, group, kCounts + 1, counts[1]);
  write(update, group, kCursors, 0);
  write(update, group, kCursors + 1, 0);
  flush(update);
  write(update, group, kInline, first);
  write(update, group, kInline + 1, second);
  flush(update);
  moved(first, 0);
  moved(second, 1);
  return group;
}

void GroupWriter::destroy(std::uint32_t group) {
  assert(lines_[group].word[kDepth] == 0);
  lines_.give_back(group);
}

// Makes position `total` exist. Lines that nobody reads yet are written at once; what a reader would see of it goes
// into the record that also brings the link.
void GroupWriter::grow(std::uint32_t group, std::uint32_t total, RouteUpdate& last) {
  const std::uint32_t depth = lines_[group].word[kDepth];
  if (total == capacity(depth)) {
    const std::uint32_t root = lines_.take();
    RouteUpdate update;
    if (depth == 0) {
      for (std::uint32_t i = 0; i < total; ++i) {
        write(update, root, i, lines_[group].word[kInline + i]);
        if (update.count == RouteUpdate::kMaxWords) {
          flush(update);
        }
      }
    } else {
      write(update, root, 0, lines_[group].word[kRoot]);
    }
    flush(update);
    write(last, group, kRoot, root);
    write(last, group, kDepth, depth + 1);
  }
  if (lines_[group].word[kDepth] > 1) {
    attach_path(lines_[group].word[kRoot], lines_[group].word[kDepth], total);
  }
}

// The lines between the root and the leaf of `position`, where it is the first of its leaf. An index word behind the
// last link is read by nobody, so that these writes need no record of their own.
void GroupWriter::attach_path(std::uint32_t root, std::uint32_t depth, std::uint32_t position) {
  RouteUpdate update;
  std::uint32_t line = root;
  for (std::uint32_t level = depth - 1; level != 0; --level) {
    const std::uint32_t word = position >> (4 * level) & 15;
    if (position % (1u << (4 * level)) == 0) {
      write(update, line, word, lines_.take());
    }
    line = lines_[line].word[word];
  }
  flush(update);
}

void GroupWriter::add(std::uint32_t group, LinkIndex link, LinkClass link_class, const Moved& moved) {
  RouteUpdate last;
  const std::uint32_t rank = group_rank(link_class);
  std::uint32_t hole = total(group);
  grow(group, hole, last);
  // The first link of each later class moves behind its last: one hole wanders down to the end of this class.
  for (std::uint32_t r = kLinkClasses - 1, begin = hole; r > rank; --r) {
    const std::uint32_t count = count_of_rank(group, r);
    begin -= count;
    if (count != 0) {
      const LinkIndex first = link_at(group, begin);
      put(last, group, hole, first);
      moved(first, hole);
      hole = begin;
    }
  }
  put(last, group, hole, link);
  moved(link, hole);
  change_count(last, group, rank, +1);
  flush(last);
}

void GroupWriter::remove(std::uint32_t group, std::uint32_t position, const Moved& moved) {
  RouteUpdate last;
  const std::uint32_t rank = group_rank(class_at(group, position));
  const std::uint32_t left = total(group) - 1;
  std::uint32_t hole = position;
  std::uint32_t end = 0;
  for (std::uint32_t r = 0; r < kLinkClasses; ++r) {
    const std::uint32_t count = count_of_rank(group, r);
    end += count;
    if (r < rank || count == 0 || end - 1 == hole) {
      continue;
    }
    const LinkIndex tail = link_at(group, end - 1);
    put(last, group, hole, tail);
    moved(tail, hole);
    hole = end - 1;
  }
  assert(hole == left);
  change_count(last, group, rank, -1);
  const std::uint32_t root = lines_[group].word[kRoot];
  const std::uint32_t depth = lines_[group].word[kDepth];
  if (depth > 1 && left == capacity(depth - 1)) {
    write(last, group, kRoot, lines_[root].word[0]);
    write(last, group, kDepth, depth - 1);
  }
  flush(last);
  shrink(group, left, root, depth);
}

// Gives back the lines that held position `total`, and goes inline when few links are left.
void GroupWriter::shrink(std::uint32_t group, std::uint32_t total, std::uint32_t old_root, std::uint32_t old_depth) {
  std::uint32_t line = old_root;
  for (std::uint32_t level = old_depth; level > 1; --level) {
    const std::uint32_t next = lines_[line].word[total >> (4 * (level - 1)) & 15];
    if (level < old_depth && total % (1u << (4 * level)) == 0) {
      lines_.give_back(line);
    }
    line = next;
  }
  if (old_depth > 1 && total % kLineWords == 0) {
    lines_.give_back(line);
  }
  if (old_depth > 1 && total == capacity(old_depth - 1)) {
    lines_.give_back(old_root);
  }
  if (old_depth == 1 && total == kInlineAgain) {
    RouteUpdate update;
    for (std::uint32_t i = 0; i < total; ++i) {
      write(update, group, kInline + i, lines_[old_root].word[i]);
    }
    write(update, group, kDepth, 0);
    flush(update);
    lines_.give_back(old_root);
  }
}

void GroupWriter::fill(RouteTable& table) const {
  RouteUpdate update;
  for (std::uint32_t line = 1; line < lines_.high_water(); ++line) {
    for (std::uint32_t word = 0; word < kLineWords; ++word) {
      update.words[update.count++] = {line * kLineWords + word, lines_[line].word[word]};
      if (update.count == RouteUpdate::kMaxWords) {
        table.apply(update);
        update = RouteUpdate();
      }
    }
  }
  table.apply(update);
}

}  // namespace slipway

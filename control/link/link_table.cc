#include "link/link_table.h"

#include <fmt/format.h>

namespace slipway {

LinkTable::LinkTable(std::uint32_t max_links, std::uint64_t seed) : max_links_(0), links_(kMaxLinks), generations_(kMaxLinks) {
  set_capacity(max_links);
  for (auto& generation : generations_) {  // splitmix64
    seed += 0x9E3779B97F4A7C15u;
    std::uint64_t z = (seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    generation = static_cast<std::uint32_t>(z >> 33) & kGenerationMask;
  }
}

std::expected<NodeLink*, std::string> LinkTable::allocate() {
  if (used_ >= max_links_) {
    return std::unexpected(fmt::format("the node has {} links, its limit: raise `limits.links`", used_));
  }
  LinkIndex index = kNoLink;
  if (highest_ + 1 < kMaxLinks) {  // never used ones first: the longer an index rests the better
    index = ++highest_;
  } else if (head_ < free_.size()) {
    index = free_[head_++];
    if (head_ > free_.size() / 2) {
      free_.erase(free_.begin(), free_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
    }
  } else {
    return std::unexpected("every link index is in use or waits for a worker to let go of it");
  }
  auto& generation = generations_[index];
  generation = (generation + 1) & kGenerationMask;
  if (generation == 0) {
    generation = 1;
  }
  links_[index] = std::make_unique<NodeLink>();
  ++used_;
  NodeLink& link = *links_[index];
  link.record.index = index;
  link.record.generation = generation;
  link.record.state = LinkState::kGreeting;
  return &link;
}

void LinkTable::free(LinkIndex index) {
  if (index < kMaxLinks && links_[index]) {
    links_[index].reset();
    free_.push_back(index);
    --used_;
  }
}

NodeLink* LinkTable::find(LinkIndex index) { return index < kMaxLinks ? links_[index].get() : nullptr; }
const NodeLink* LinkTable::find(LinkIndex index) const { return index < kMaxLinks ? links_[index].get() : nullptr; }

NodeLink* LinkTable::find(LinkIndex index, std::uint32_t generation) {
  NodeLink* link = find(index);
  return link != nullptr && link->record.generation == generation ? link : nullptr;
}

void LinkTable::each(const std::function<void(NodeLink&)>& call) {
  for (LinkIndex index = 1; index <= highest_; ++index) {
    if (links_[index]) {
      call(*links_[index]);
    }
  }
}

void LinkTable::each(const std::function<void(const NodeLink&)>& call) const {
  for (LinkIndex index = 1; index <= highest_; ++index) {
    if (links_[index]) {
      call(*links_[index]);
    }
  }
}

}  // namespace slipway

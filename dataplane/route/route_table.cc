// Making a table and backing it with memory: control thread only.
#include "route/route_table.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace slipway {
namespace {

constexpr std::size_t kStepBytes = 2u << 20;  // one huge page

constexpr std::size_t round_up(std::size_t bytes) { return (bytes + kStepBytes - 1) & ~(kStepBytes - 1); }

// Address space without memory, aligned to a huge page; nullptr when the kernel refuses.
std::byte* reserve(std::size_t bytes) {
  const std::size_t with_slack = bytes + kStepBytes;
  void* at = mmap(nullptr, with_slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) {
    return nullptr;
  }
  auto* start = static_cast<std::byte*>(at);
  auto* aligned = reinterpret_cast<std::byte*>(round_up(reinterpret_cast<std::uintptr_t>(start)));
  if (aligned != start) {
    munmap(start, static_cast<std::size_t>(aligned - start));
  }
  const auto tail = static_cast<std::size_t>(start + with_slack - (aligned + bytes));
  if (tail != 0) {
    munmap(aligned + bytes, tail);
  }
  return aligned;
}

// A reserved huge page is taken whole, checked, and only then put in its place: no later access can fail for want
// of one, and no hole stands open in between for another thread's mapping.
bool back_with_huge_page(std::byte* at) {
  void* page = mmap(nullptr, kStepBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  if (page == MAP_FAILED) {
    return false;
  }
  if (madvise(page, kStepBytes, MADV_POPULATE_WRITE) == 0 &&
      mremap(page, kStepBytes, kStepBytes, MREMAP_MAYMOVE | MREMAP_FIXED, at) != MAP_FAILED) {
    return true;
  }
  munmap(page, kStepBytes);
  return false;
}

// Small pages with the advice to make them one huge page, touched here and not in traffic.
bool back_with_small_pages(std::byte* at) {
  if (mprotect(at, kStepBytes, PROT_READ | PROT_WRITE) != 0) {
    return false;
  }
  madvise(at, kStepBytes, MADV_HUGEPAGE);
  if (madvise(at, kStepBytes, MADV_POPULATE_WRITE) == 0) {
    return true;
  }
  if (errno != EINVAL) {
    return false;
  }
  constexpr std::size_t kPage = 4096;  // a kernel before 5.14 does not know the advice
  for (std::size_t offset = 0; offset < kStepBytes; offset += kPage) {
    static_cast<volatile std::byte*>(at)[offset] = std::byte{0};
  }
  return true;
}

bool back(std::byte* area, std::size_t bytes, std::size_t* backed, bool* huge_pages) {
  for (; *backed < bytes; *backed += kStepBytes) {
    *huge_pages = *huge_pages && back_with_huge_page(area + *backed);
    if (!*huge_pages && !back_with_small_pages(area + *backed)) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::expected<RouteTable, std::string> RouteTable::create(const RouteSecret& secret, std::uint32_t max_names) {
  RouteTable table;
  table.secret_ = secret;
  table.wide_ = cpu_is_wide();
  table.range_ = BucketRange::of(kFirstBuckets);
  table.limits_ = limits_for(max_names);
  const std::size_t bucket_bytes = round_up(std::size_t{table.limits_.buckets} * sizeof(Bucket));
  const std::size_t line_bytes = round_up(std::size_t{table.limits_.lines} * sizeof(Line));
  const std::size_t summary_bytes = round_up(std::size_t{table.limits_.buckets} * sizeof(Summary));
  table.buckets_ = reinterpret_cast<Bucket*>(reserve(bucket_bytes));
  table.lines_ = reinterpret_cast<Line*>(reserve(line_bytes));
  table.summaries_ = reinterpret_cast<Summary*>(reserve(summary_bytes));
  if (table.buckets_ == nullptr || table.lines_ == nullptr || table.summaries_ == nullptr) {
    return std::unexpected(fmt::format(
        "reserving {} MiB of address space for a route table of {} names: {}; raise the process's address space limit "
        "(ulimit -v) or lower the limit on routes",
        (bucket_bytes + line_bytes + summary_bytes) >> 20, max_names, std::strerror(errno)));
  }
  if (auto backed = table.extend({kFirstBuckets, 1}); !backed) {
    return std::unexpected(backed.error());
  }
  return table;
}

RouteTable& RouteTable::operator=(RouteTable&& from) noexcept {
  if (this != &from) {
    unmap();
    secret_ = from.secret_;
    range_ = from.range_;
    buckets_ = std::exchange(from.buckets_, nullptr);
    lines_ = std::exchange(from.lines_, nullptr);
    summaries_ = std::exchange(from.summaries_, nullptr);
    wide_ = from.wide_;
    limits_ = from.limits_;
    bucket_bytes_backed_ = from.bucket_bytes_backed_;
    line_bytes_backed_ = from.line_bytes_backed_;
    summary_bytes_backed_ = from.summary_bytes_backed_;
    huge_pages_ = from.huge_pages_;
  }
  return *this;
}

RouteTable::~RouteTable() { unmap(); }

void RouteTable::unmap() {
  if (buckets_ != nullptr) {
    munmap(buckets_, round_up(std::size_t{limits_.buckets} * sizeof(Bucket)));
  }
  if (lines_ != nullptr) {
    munmap(lines_, round_up(std::size_t{limits_.lines} * sizeof(Line)));
  }
  if (summaries_ != nullptr) {
    munmap(summaries_, round_up(std::size_t{limits_.buckets} * sizeof(Summary)));
  }
  buckets_ = nullptr;
  lines_ = nullptr;
  summaries_ = nullptr;
}

std::expected<void, std::string> RouteTable::extend(const TableExtent& extent) {
  if (extent.buckets > limits_.buckets || extent.lines > limits_.lines) {
    return std::unexpected(fmt::format("the route table is full: {} of {} buckets, {} of {} lines; raise the limit on routes",
                                       extent.buckets, limits_.buckets, extent.lines, limits_.lines));
  }
  const bool done =
      back(reinterpret_cast<std::byte*>(buckets_), extent.buckets * sizeof(Bucket), &bucket_bytes_backed_, &huge_pages_) &&
      back(reinterpret_cast<std::byte*>(summaries_), extent.buckets * sizeof(Summary), &summary_bytes_backed_, &huge_pages_) &&
      back(reinterpret_cast<std::byte*>(lines_), extent.lines * sizeof(Line), &line_bytes_backed_, &huge_pages_);
  if (!done) {
    return std::unexpected(fmt::format("growing the route table by 2 MiB: {}; free memory, or lower the limit on routes",
                                       std::strerror(errno)));
  }
  return {};
}

TableMemory RouteTable::memory(const TableExtent& in_use) const {
  return {.used_bytes = in_use.buckets * kBucketBytes + in_use.lines * sizeof(Line),
          .mapped_bytes = bucket_bytes_backed_ + summary_bytes_backed_ + line_bytes_backed_,
          .huge_pages = huge_pages_};
}

}  // namespace slipway

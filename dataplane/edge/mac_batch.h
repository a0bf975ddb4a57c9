#pragma once
// Header MACs of several messages at once. Hashing is most of what an upstream message costs, and a processor hashes sixteen
// headers side by side in little more time than two, one after the other: workers collect the messages of a receive buffer, or
// of a send, and let their MACs be computed together by intel-ipsec-mb, which has kernels for every vector unit. Which way
// suits how many is measured when it is made, OpenSSL's one by one among them.
//
// Belongs to one worker. What is added is copied: only the places for the results must stay until run().

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "edge/mac.h"
#include "edge/mac_memo.h"

namespace slipway {

// Whether it pays to ask the memo for the messages of one direction of a link: where identities do not repeat it is asked for
// few of them.
class MemoHabit {
 public:
  [[nodiscard]] bool asks() { return misses_ < kPatience || ++turn_ % kRarely == 0; }
  void told(bool known) { misses_ = known ? 0 : misses_ < kPatience ? misses_ + 1 : kPatience; }

 private:
  static constexpr std::uint8_t kPatience = 64;
  static constexpr std::uint8_t kRarely = 16;
  std::uint8_t misses_ = 0;
  std::uint8_t turn_ = 0;
};

class MacBatch {
 public:
  static constexpr std::size_t kJobs = kMacBatch;

  explicit MacBatch(MacMemo* memo);  // null: none. Measures for less than a millisecond.
  ~MacBatch();                       // wipes
  MacBatch(const MacBatch&) = delete;
  MacBatch& operator=(const MacBatch&) = delete;

  [[nodiscard]] bool full() const { return count_ == kJobs; }
  // Each not when full(). The MAC of the header will be at `to` after run(); it may be there before. habit: of the link and
  // direction; null: the memo is not asked.
  void add(const HeaderMac& mac, const UpstreamMessage& message, const Pieces& bytes, std::byte* to, MemoHabit* habit);
  // The same, of what HeaderMac::covered() gave.
  void add(const HeaderMac& mac, std::span<const std::byte> covered, std::byte* to);
  // The same, of what was written to room(mac); empty: MACs of this link cannot wait (its id is long).
  [[nodiscard]] std::span<std::byte> room(const HeaderMac& mac) {
    return mac.prefix_bytes_ == 0 ? std::span<std::byte>() : std::span<std::byte>(buffers_[count_].data() + mac.prefix_bytes_, kMacHeaderBytes);
  }
  void add_written(const HeaderMac& mac, std::size_t covered_bytes, std::byte* to, MemoHabit* habit);
  void run();

 private:
  struct Engine;
  struct Job {
    const HeaderMac* mac;
    std::byte* to;
    std::byte* memo;      // where it is to be remembered; null: nowhere
    std::uint32_t bytes;  // of the buffer: prefix and header
  };
  using Buffer = std::array<std::byte, kMacPrefixBytes + kMacHeaderBytes>;

  void add_job(const HeaderMac& mac, std::size_t covered, std::byte* to, std::byte* memo);
  [[nodiscard]] std::byte* ask_memo(const HeaderMac& mac, std::span<const std::byte> covered, std::byte* to, MemoHabit& habit, bool* done);
  void run_one_by_one();
  void choose();

  MacMemo* memo_;
  std::size_t count_ = 0;
  std::array<Job, kJobs> jobs_;
  std::array<std::uint8_t, kJobs + 1> choice_{};  // by number of jobs: 0 one by one, else 1 + engine
  std::array<std::unique_ptr<Engine>, 2> engines_;
  std::unique_ptr<Buffer[]> buffers_;
};

}  // namespace slipway

#pragma once
// Header MACs of several messages at once. Hashing is most of what an upstream message costs, and a processor hashes sixteen
// headers side by side (sha256_lanes.h) in little more time than a few, one after the other: workers collect the messages of a
// receive buffer, or of a send, and let their MACs be computed together. Which way suits how many is measured when it is made,
// OpenSSL's one by one among them. Names that repeat are hashed once (hashed_names.h).
//
// Belongs to one worker. What is added is copied, but for add_in_place(): only the places for the results must stay until run().

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "edge/hashed_names.h"
#include "edge/mac.h"
#include "edge/mac_memo.h"
#include "edge/sha256_lanes.h"

namespace slipway {

// What one direction of a link is used to: whether it pays to ask the memo for its messages (where identities do not repeat it is
// asked for few of them), and the names that came last.
class MacHabit {
 public:
  [[nodiscard]] bool asks() { return misses_ < kPatience || ++turn_ % kRarely == 0; }
  void told(bool known) { misses_ = known ? 0 : misses_ < kPatience ? misses_ + 1 : kPatience; }

 private:
  friend class MacBatch;
  static constexpr std::uint8_t kPatience = 64;
  static constexpr std::uint8_t kRarely = 64;
  std::uint8_t misses_ = 0;
  std::uint8_t turn_ = 0;
  HashedNames::Last names_;
};

class MacBatch {
 public:
  static constexpr std::size_t kJobs = kMacBatch;
  static constexpr std::size_t kPadBytes = 2 * kSha256BlockBytes;

  explicit MacBatch(MacMemo* memo);  // null: none. Measures for less than a millisecond.
  ~MacBatch();                       // wipes
  MacBatch(const MacBatch&) = delete;
  MacBatch& operator=(const MacBatch&) = delete;

  [[nodiscard]] bool full() const { return count_ == kJobs; }
  // Each not when full(). The MAC of the header will be at `to` after run(); it may be there before. habit: of the link and
  // direction.
  void add(const HeaderMac& mac, const UpstreamMessage& message, const Pieces& bytes, std::byte* to, MacHabit& habit);
  // The same, of what HeaderMac::covered() gave.
  void add(const HeaderMac& mac, std::span<const std::byte> covered, std::byte* to, MacHabit& habit);
  // The same, of what was written to room(mac); empty: MACs of this link cannot wait (its id is long).
  [[nodiscard]] std::span<std::byte> room(const HeaderMac& mac) {
    return mac.prefix_bytes_ == 0 ? std::span<std::byte>() : std::span<std::byte>(buffers_[count_].data() + mac.prefix_bytes_, kMacHeaderBytes);
  }
  void add_written(const HeaderMac& mac, std::size_t covered_bytes, std::byte* to, MacHabit& habit);
  // The same, of what lies at `covered` and stays there until run(). kMacPrefixBytes before it and kPadBytes behind it are written to.
  // names: 0, or a number that stands for the names in it: those of two headers with the same number are the same.
  // Not for links for which room() is empty.
  void add_in_place(const HeaderMac& mac, std::byte* covered, std::size_t covered_bytes, std::byte* to, MacHabit& habit,
                    std::uint64_t names, bool may_ask_memo);
  void run();

 private:
  struct Job {
    const HeaderMac* mac;
    std::byte* to;
    std::byte* memo;                         // where it is to be remembered; null: nowhere
    std::byte* begin;                        // prefix and header; the prefix only if it is not hashed
    std::uint32_t bytes;                     // of both
    std::uint32_t hashed;                    // of them, in the state
    std::array<std::uint32_t, kSha256Words> state;
  };
  using Buffer = std::array<std::byte, kMacPrefixBytes + kMacHeaderBytes + kPadBytes>;

  void add_job(const HeaderMac& mac, std::byte* covered, std::size_t covered_bytes, std::byte* to, MacHabit& habit, std::uint64_t names, std::byte* memo);
  [[nodiscard]] std::byte* ask_memo(const HeaderMac& mac, std::span<const std::byte> covered, std::byte* to, MacHabit& habit, bool* done);
  void run_one_by_one();
  void run_together(const Sha256Kernel& kernel);
  void choose();

  MacMemo* memo_;
  HashedNames names_;
  std::size_t count_ = 0;
  std::array<Job, kJobs> jobs_;
  std::array<std::uint8_t, kJobs + 1> choice_{};  // by number of jobs: 0 one by one, else 1 + kernel
  std::unique_ptr<Buffer[]> buffers_;
};

}  // namespace slipway

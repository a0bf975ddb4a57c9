#include "edge/mac_batch.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <utility>

namespace slipway {
namespace {

constexpr std::size_t kMeasuredBytes = 256;  // of a usual header, without the names that were hashed before
constexpr int kMeasures = 5;

// Ends what is hashed behind a key of one block (FIPS 180-4, 5.1.1); returns how many blocks it makes.
std::uint32_t pad(std::byte* begin, std::size_t bytes) {
  const std::size_t blocks = (bytes + 1 + sizeof(std::uint64_t) + kSha256BlockBytes - 1) / kSha256BlockBytes;
  std::memset(begin + bytes, 0, blocks * kSha256BlockBytes - bytes);
  begin[bytes] = std::byte{0x80};
  const std::uint64_t bits = std::byteswap(std::uint64_t{(kSha256BlockBytes + bytes) * 8});
  std::memcpy(begin + blocks * kSha256BlockBytes - sizeof bits, &bits, sizeof bits);
  return static_cast<std::uint32_t>(blocks);
}

void store_state(std::byte* to, std::span<const std::uint32_t, kSha256Words> state) {
  for (std::size_t i = 0; i < kSha256Words; ++i) {
    const std::uint32_t word = std::byteswap(state[i]);
    std::memcpy(to + i * sizeof word, &word, sizeof word);
  }
}

}  // namespace

MacBatch::MacBatch(MacMemo* memo) : memo_(memo), buffers_(std::make_unique_for_overwrite<Buffer[]>(kJobs)) { choose(); }

MacBatch::~MacBatch() {
  OPENSSL_cleanse(buffers_.get(), kJobs * sizeof(Buffer));
  OPENSSL_cleanse(jobs_.data(), sizeof jobs_);
}

// What costs least, for each number of jobs.
void MacBatch::choose() {
  const HeaderMac mac(LinkKey{}, "00000000-0000-4000-8000-000000000000");
  const std::array<std::byte, kMeasuredBytes> header{};
  std::array<std::array<std::byte, kHeaderMacBytes>, kJobs> macs;
  MacHabit habit;
  MacMemo* const memo = std::exchange(memo_, nullptr);
  for (std::size_t jobs = 1; jobs <= kJobs; ++jobs) {
    auto least = std::chrono::steady_clock::duration::max();
    std::uint8_t best = 0;
    for (std::uint8_t way = 0; way <= sha256_kernels().size(); ++way) {
      choice_[jobs] = way;
      for (int i = 0; i < kMeasures; ++i) {
        for (std::size_t job = 0; job < jobs; ++job) {
          add(mac, header, macs[job].data(), habit);
        }
        const auto start = std::chrono::steady_clock::now();
        run();
        const auto took = std::chrono::steady_clock::now() - start;
        if (took < least) {
          least = took;
          best = way;
        }
      }
    }
    choice_[jobs] = best;
  }
  memo_ = memo;
}

void MacBatch::add(const HeaderMac& mac, const UpstreamMessage& message, const Pieces& bytes, std::byte* to, MacHabit& habit) {
  const std::span<std::byte> at = room(mac);
  const std::size_t size = at.empty() ? 0 : HeaderMac::covered(message, bytes, at.first<kMacHeaderBytes>());
  if (size == 0) {
    mac.compute(message, bytes, std::span<std::byte, kHeaderMacBytes>(to, kHeaderMacBytes));
  } else {
    add_written(mac, size, to, habit);
  }
}

void MacBatch::add(const HeaderMac& mac, std::span<const std::byte> covered, std::byte* to, MacHabit& habit) {
  const std::span<std::byte> at = room(mac);
  if (at.empty()) {
    mac.hash(covered, std::span<std::byte, kHeaderMacBytes>(to, kHeaderMacBytes));
  } else {
    std::memcpy(at.data(), covered.data(), covered.size());
    add_job(mac, at.data(), covered.size(), to, habit, 0, nullptr);
  }
}

void MacBatch::add_written(const HeaderMac& mac, std::size_t covered_bytes, std::byte* to, MacHabit& habit) {
  add_in_place(mac, room(mac).data(), covered_bytes, to, habit, 0, true);
}

void MacBatch::add_in_place(const HeaderMac& mac, std::byte* covered, std::size_t covered_bytes, std::byte* to, MacHabit& habit,
                            std::uint64_t names, bool may_ask_memo) {
  std::byte* memo = nullptr;
  if (memo_ != nullptr && may_ask_memo && habit.asks()) {
    bool done = false;
    memo = ask_memo(mac, {covered, covered_bytes}, to, habit, &done);
    if (done) {
      return;
    }
  }
  add_job(mac, covered, covered_bytes, to, habit, names, memo);
}

// Where the MAC is to be remembered. A header may come twice in one batch: then its entry, or another header's at the same
// place, waits to be filled.
std::byte* MacBatch::ask_memo(const HeaderMac& mac, std::span<const std::byte> covered, std::byte* to, MacHabit& habit, bool* done) {
  const MacMemo::Found found = memo_->find(mac.serial_, covered);
  habit.told(found.hit);
  if (found.mac == nullptr) {
    return nullptr;
  }
  Job* const waiting = std::find_if(jobs_.data(), jobs_.data() + count_, [&](const Job& job) { return job.memo == found.mac; });
  if (waiting == jobs_.data() + count_) {
    if (found.hit) {
      std::memcpy(to, found.mac, kHeaderMacBytes);
      *done = true;
      return nullptr;
    }
    return found.mac;
  }
  if (!found.hit) {
    waiting->memo = nullptr;  // the entry is this header's now
    return found.mac;
  }
  return nullptr;
}

void MacBatch::add_job(const HeaderMac& mac, std::byte* covered, std::size_t covered_bytes, std::byte* to, MacHabit& habit, std::uint64_t names,
                       std::byte* memo) {
  const std::span<std::byte> buffer(covered - mac.prefix_bytes_, mac.prefix_bytes_ + covered_bytes);
  Job& job = jobs_[count_++];
  job.mac = &mac;
  job.to = to;
  job.memo = memo;
  job.begin = buffer.data();
  job.bytes = static_cast<std::uint32_t>(buffer.size());
  job.hashed = names_.recall(mac, names, job.state, habit.names_);
  if (job.hashed == 0) {
    std::memcpy(buffer.data(), mac.prefix_.data(), mac.prefix_bytes_);
    job.hashed = names_.begin(mac, buffer, names, job.state, &habit.names_);
  }
}

void MacBatch::run() {
  if (const std::uint8_t way = choice_[count_]; way == 0) {
    run_one_by_one();
  } else {
    run_together(sha256_kernels()[way - 1u]);
  }
  for (std::size_t i = 0; i < count_; ++i) {
    if (jobs_[i].memo != nullptr) {
      std::memcpy(jobs_[i].memo, jobs_[i].to, kHeaderMacBytes);
    }
  }
  count_ = 0;
}

void MacBatch::run_together(const Sha256Kernel& kernel) {
  std::array<Sha256Lane, kJobs> lanes;
  for (std::size_t i = 0; i < count_; ++i) {
    Job& job = jobs_[i];
    const std::uint32_t blocks = pad(job.begin, job.bytes);
    lanes[i] = {job.begin + job.hashed, blocks - job.hashed / static_cast<std::uint32_t>(kSha256BlockBytes), job.state.data(),
                job.mac->outer_key_.data()};
  }
  kernel.run({lanes.data(), count_});
  for (std::size_t i = 0; i < count_; ++i) {
    store_state(jobs_[i].to, jobs_[i].state);
  }
}

void MacBatch::run_one_by_one() {
  for (std::size_t i = 0; i < count_; ++i) {
    const Job& job = jobs_[i];
    job.mac->hash_from(job.state, job.hashed, std::span(job.begin + job.hashed, job.bytes - job.hashed),
                       std::span<std::byte, kHeaderMacBytes>(job.to, kHeaderMacBytes));
  }
}

}  // namespace slipway

#include "edge/mac_batch.h"

#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace slipway {
namespace {

constexpr std::size_t kMeasuredBytes = 448;  // a usual header with its prefix
constexpr int kMeasures = 5;

}  // namespace

// One manager of intel-ipsec-mb: its kernels for one kind of processor.
struct MacBatch::Engine {
  explicit Engine(bool widest) : manager(alloc_mb_mgr(0)) {
    if (manager == nullptr) {
      return;
    }
    if (widest) {
      init_mb_mgr_auto(manager, nullptr);
    } else {
      init_mb_mgr_sse(manager);  // with the processor's own SHA instructions, where it has them
    }
    usable = imb_get_errno(manager) == 0;
    for (IMB_JOB& job : jobs) {
      job = {};
      job.hash_alg = IMB_AUTH_HMAC_SHA_256;
      job.cipher_mode = IMB_CIPHER_NULL;
      job.cipher_direction = IMB_DIR_ENCRYPT;
      job.chain_order = IMB_ORDER_HASH_CIPHER;
      job.auth_tag_output_len_in_bytes = kHeaderMacBytes;
    }
  }
  ~Engine() {
    OPENSSL_cleanse(jobs.data(), sizeof jobs);
    if (manager != nullptr) {
      OPENSSL_cleanse(manager, imb_get_mb_mgr_size());
      free_mb_mgr(manager);
    }
  }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  IMB_MGR* manager;
  bool usable = false;
  std::array<IMB_JOB, kJobs> jobs;
};

MacBatch::MacBatch(MacMemo* memo) : memo_(memo), buffers_(std::make_unique_for_overwrite<Buffer[]>(kJobs)) {
  engines_ = {std::make_unique<Engine>(false), std::make_unique<Engine>(true)};
  choose();
}

MacBatch::~MacBatch() { OPENSSL_cleanse(buffers_.get(), kJobs * sizeof(Buffer)); }

// What costs least, for each number of jobs.
void MacBatch::choose() {
  const HeaderMac mac(LinkKey{}, "00000000-0000-4000-8000-000000000000");
  const std::array<std::byte, kMeasuredBytes> header{};
  std::array<std::array<std::byte, kHeaderMacBytes>, kJobs> macs;
  MacMemo* const memo = std::exchange(memo_, nullptr);
  for (std::size_t jobs = 1; jobs <= kJobs; ++jobs) {
    auto least = std::chrono::steady_clock::duration::max();
    std::uint8_t best = 0;
    for (std::uint8_t way = 0; way <= engines_.size(); ++way) {
      if (way != 0 && !engines_[way - 1]->usable) {
        continue;
      }
      choice_[jobs] = way;
      for (int i = 0; i < kMeasures; ++i) {
        for (std::size_t job = 0; job < jobs; ++job) {
          add(mac, header, macs[job].data());
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

void MacBatch::add(const HeaderMac& mac, const UpstreamMessage& message, const Pieces& bytes, std::byte* to, MemoHabit* habit) {
  const std::span<std::byte> at = room(mac);
  const std::size_t size = at.empty() ? 0 : HeaderMac::covered(message, bytes, at.first<kMacHeaderBytes>());
  if (size == 0) {
    mac.compute(message, bytes, std::span<std::byte, kHeaderMacBytes>(to, kHeaderMacBytes));
  } else {
    add_written(mac, size, to, habit);
  }
}

void MacBatch::add(const HeaderMac& mac, std::span<const std::byte> covered, std::byte* to) {
  const std::span<std::byte> at = room(mac);
  if (at.empty()) {
    mac.hash(covered, std::span<std::byte, kHeaderMacBytes>(to, kHeaderMacBytes));
  } else {
    std::memcpy(at.data(), covered.data(), covered.size());
    add_job(mac, covered.size(), to, nullptr);
  }
}

void MacBatch::add_written(const HeaderMac& mac, std::size_t covered_bytes, std::byte* to, MemoHabit* habit) {
  std::byte* memo = nullptr;
  if (memo_ != nullptr && habit != nullptr && habit->asks()) {
    bool done = false;
    memo = ask_memo(mac, room(mac).first(covered_bytes), to, *habit, &done);
    if (done) {
      return;
    }
  }
  add_job(mac, covered_bytes, to, memo);
}

// Where the MAC is to be remembered. A header may come twice in one batch: then its entry, or another header's at the same
// place, waits to be filled.
std::byte* MacBatch::ask_memo(const HeaderMac& mac, std::span<const std::byte> covered, std::byte* to, MemoHabit& habit, bool* done) {
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

void MacBatch::add_job(const HeaderMac& mac, std::size_t covered, std::byte* to, std::byte* memo) {
  std::memcpy(buffers_[count_].data(), mac.prefix_.data(), mac.prefix_bytes_);
  jobs_[count_++] = {.mac = &mac, .to = to, .memo = memo, .bytes = static_cast<std::uint32_t>(mac.prefix_bytes_ + covered)};
}

void MacBatch::run() {
  const std::uint8_t way = choice_[count_];
  if (way == 0) {
    run_one_by_one();
  } else {
    Engine& engine = *engines_[way - 1u];
    for (std::size_t i = 0; i < count_; ++i) {
      const Job& from = jobs_[i];
      IMB_JOB& job = engine.jobs[i];
      job.src = reinterpret_cast<const std::uint8_t*>(buffers_[i].data());
      job.msg_len_to_hash_in_bytes = from.bytes;
      job.auth_tag_output = reinterpret_cast<std::uint8_t*>(from.to);
      job.u.HMAC._hashed_auth_key_xor_ipad = reinterpret_cast<const std::uint8_t*>(from.mac->inner_key_.data());
      job.u.HMAC._hashed_auth_key_xor_opad = reinterpret_cast<const std::uint8_t*>(from.mac->outer_key_.data());
    }
    if (IMB_SUBMIT_HASH_BURST_NOCHECK(engine.manager, engine.jobs.data(), static_cast<std::uint32_t>(count_), IMB_AUTH_HMAC_SHA_256) != count_) {
      run_one_by_one();
    }
  }
  for (std::size_t i = 0; i < count_; ++i) {
    if (jobs_[i].memo != nullptr) {
      std::memcpy(jobs_[i].memo, jobs_[i].to, kHeaderMacBytes);
    }
  }
  count_ = 0;
}

void MacBatch::run_one_by_one() {
  for (std::size_t i = 0; i < count_; ++i) {
    const Job& job = jobs_[i];
    const std::uint32_t prefix = job.mac->prefix_bytes_;
    job.mac->hash({buffers_[i].data() + prefix, job.bytes - prefix}, std::span<std::byte, kHeaderMacBytes>(job.to, kHeaderMacBytes));
  }
}

}  // namespace slipway

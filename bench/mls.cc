// The MLS module against the public-key operations that RFC 9420 makes unavoidable. Right before and after each
// repetition the floor is measured (mls_floor.h); times are thread CPU time. A line with two threads is timed along its
// longer side: the calling thread's CPU time, plus what the lent thread needed beyond it in each shared piece of work.
#include <fmt/format.h>
#include <malloc.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <set>
#include <thread>

#include "group/group.h"
#include "mls_lines.h"

namespace slipway::bench {
namespace {

using mls::Bytes;
using mls::Group;
using mls::GroupConfig;
using mls::Result;
using mls::View;

constexpr std::uint64_t kNow_s = 1'700'000'000;
constexpr std::uint64_t kLifetime_s = 86'400;
constexpr std::uint64_t kQuickEnd_ns = 40'000'000'000;
constexpr std::uint32_t kMessagesARepetition = 8;

template <class T>
T get(Result<T> result, const char* what) {
  if (!result) {
    fmt::print(stderr, "mls: {}: {}\n", what, result.error().text);
    std::exit(1);
  }
  return std::move(*result);
}
void must(const mls::Status& status, const char* what) {
  if (!status) {
    fmt::print(stderr, "mls: {}: {}\n", what, status.error().text);
    std::exit(1);
  }
}

// The caller and one more thread, each doing every other piece. Between pieces of work that follow each other closely
// both stay awake: to be woken up takes as long as some of the work.
class TwoThreads final : public mls::Parallel {
 public:
  TwoThreads() : thread_([this] { serve(); }) {}
  ~TwoThreads() override {
    post({});
    thread_.join();
  }
  TwoThreads(const TwoThreads&) = delete;
  TwoThreads& operator=(const TwoThreads&) = delete;

  void run(std::size_t count, Piece piece, void* context) override {
    post({count, piece, context});
    const std::uint64_t start = thread_cpu_ns();
    for (std::size_t i = 0; i < count; i += 2) {
      piece(context, i);
    }
    const std::uint64_t end = thread_cpu_ns();
    const std::uint64_t own_ns = end - start;
    await(done_, posted_.load(std::memory_order_relaxed) - 1);
    // Time on the processor while waiting is none of the work's.
    waiting_ns_ += static_cast<std::int64_t>(other_ns_ > own_ns ? other_ns_ - own_ns : 0) -
                   static_cast<std::int64_t>(thread_cpu_ns() - end);
  }
  // To be added to the CPU time of the caller since the last call: what it had to wait for, had each thread a CPU,
  // instead of what it spent waiting.
  std::int64_t take_waiting_ns() { return std::exchange(waiting_ns_, 0); }

 private:
  struct Work {
    std::size_t count = 0;
    Piece piece = nullptr;  // null: no more
    void* context = nullptr;
  };

  void post(Work work) {
    work_ = work;
    posted_.fetch_add(1, std::memory_order_release);
    posted_.notify_one();
  }
  // Returns when `word` is no longer `old`.
  static void await(const std::atomic<std::uint32_t>& word, std::uint32_t old) {
    constexpr std::uint64_t kAwake_ns = 1'000'000;
    const std::uint64_t end = wall_ns() + kAwake_ns;
    while (word.load(std::memory_order_acquire) == old) {
      if (wall_ns() > end) {
        word.wait(old, std::memory_order_acquire);
      }
    }
  }
  void serve() {
    for (std::uint32_t round = 0;; ++round) {
      await(posted_, round);
      const Work work = work_;
      if (work.piece == nullptr) {
        return;
      }
      const std::uint64_t start = thread_cpu_ns();
      for (std::size_t i = 1; i < work.count; i += 2) {
        work.piece(work.context, i);
      }
      other_ns_ = thread_cpu_ns() - start;
      done_.fetch_add(1, std::memory_order_release);
      done_.notify_one();
    }
  }

  Work work_;
  std::atomic<std::uint32_t> posted_ = 0;
  std::atomic<std::uint32_t> done_ = 0;
  std::uint64_t other_ns_ = 0;
  std::int64_t waiting_ns_ = 0;
  std::thread thread_;
};

// Clients of one suite with a key package each, made once.
class Crowd {
 public:
  struct Member {
    mls::SignatureKey signer;
    mls::PrivateKeyPackage package;
  };

  explicit Crowd(const mls::Suite& suite) : suite_(suite) {}
  const mls::Suite& suite() const { return suite_; }
  void grow(std::size_t size) {
    while (members_.size() < size) {
      auto signer = get(mls::SignatureKey::generate(suite_, mls::system_random()), "a signature key");
      auto package = make_package(signer, members_.size());
      members_.push_back({std::move(signer), std::move(package)});
    }
  }
  const Member& operator[](std::size_t i) const { return members_[i]; }
  mls::PrivateKeyPackage make_package(const mls::SignatureKey& signer, std::size_t number) const {
    return get(mls::make_key_package(suite_, signer, leaf(number), mls::lifetime_from(kNow_s, kLifetime_s), mls::system_random()),
               "a key package");
  }
  mls::LeafOptions leaf(std::size_t number) const {
    const std::string name = fmt::format("member {:06}", number);
    return {mls::basic_credential(mls::as_view(name)), mls::simple_capabilities({suite_.id}), {}};
  }
  Group create(const GroupConfig& config, const mls::SignatureKey& signer) const {
    mls::CreateOptions options;
    options.suite = &suite_;
    options.signer = &signer;
    options.leaf = leaf(999'999);
    options.lifetime = mls::lifetime_from(kNow_s, kLifetime_s);
    return get(Group::create(config, options), "creating a group");
  }
  Group join(const GroupConfig& config, View welcome, std::size_t who) const {
    const mls::PrivateKeyPackage* packages[] = {&members_[who].package};
    mls::JoinOptions options;
    options.now_s = kNow_s;
    options.welcome = welcome;
    options.key_packages = packages;
    options.signer = &members_[who].signer;
    return get(Group::join(config, options), "joining");
  }

 private:
  const mls::Suite& suite_;
  std::vector<Member> members_;
};

Bytes commit(Group& group, const mls::CommitOptions& options) {
  auto made = get(group.commit(options), "committing");
  must(group.accept_commit(), "accepting a commit");
  return std::move(made.commit);
}
mls::CommitOptions update_options() {
  mls::CommitOptions options;
  options.now_s = kNow_s;
  options.force_path = true;
  return options;
}
void follow(Group& group, View message) {
  auto incoming = get(group.process(message, kNow_s), "processing a commit");
  must(group.apply(std::move(std::get<mls::StagedCommit>(incoming))), "applying a commit");
}
std::size_t heap_bytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

// All lines of one suite and one N.
class Run {
 public:
  Run(Crowd& crowd, FloorMeter& meter, Recorder& recorder, std::uint32_t members, const Options& options, std::uint64_t end_ns)
      : crowd_(crowd), meter_(meter), recorder_(recorder), members_(members), options_(options), end_ns_(end_ns),
        warm_up_meters_{FloorMeter(suite_number(crowd)), FloorMeter(suite_number(crowd))} {
    two_.parallel = &threads_;
    signer_ = get(mls::SignatureKey::generate(crowd.suite(), mls::system_random()), "a signature key");
    crowd_.grow(members_ + options_.pairs);
  }

  void run() {
    key_packages();
    const std::uint32_t rounds = whole_group_rounds();
    for (std::uint32_t i = 0; i < rounds && !late(); ++i) {
      from_nothing(two_, Operation::kCreateTwoThreads, Operation::kJoinTwoThreads, Operation::kUpdateColdTwoThreads);
      from_nothing(one_, Operation::kCreate, Operation::kJoin, Operation::kUpdateCold);
    }
    if (!alice_ || late()) {
      return;
    }
    warm_up();
    make_other();
    for (std::uint32_t i = 0; i < options_.pairs && !late(); ++i) {
      epoch();
    }
    for (std::uint32_t i = 0; i < options_.pairs && !late(); ++i) {
      messages(64, Operation::kProtect64, Operation::kUnprotect64);
      messages(1024, Operation::kProtect1k, Operation::kUnprotect1k);
      messages(16 * 1024, Operation::kProtect16k, Operation::kUnprotect16k);
    }
    snapshots();
    memory();
    steps();
    for (std::uint32_t i = 0; i < options_.pairs && !late(); ++i) {
      add_one(i);
    }
  }

 private:
  static std::uint16_t suite_number(const Crowd& crowd) { return static_cast<std::uint16_t>(crowd.suite().id); }
  bool late() const { return options_.quick && wall_ns() > end_ns_; }
  LineId id(Operation operation) const {
    return {suite_number(crowd_), members_, operation};
  }
  // Operations over the whole group take seconds at N = 5000.
  std::uint32_t whole_group_rounds() const {
    const std::uint32_t most = members_ >= 5000 ? 3 : members_ >= 1000 ? 5 : options_.pairs;
    return options_.quick && members_ >= 1000 ? 1 : std::min(most, options_.pairs);
  }

  // `rehearse` runs untimed right before the work.
  template <class F, class R = void (*)()>
  void measure(Operation operation, std::uint32_t count, F&& work, R&& rehearse = [] {}) {
    const bool large = operation == Operation::kProtect16k || operation == Operation::kUnprotect16k;
    const Primitives before = meter_.sample(large);
    rehearse();
    threads_.take_waiting_ns();
    const std::uint64_t start = thread_cpu_ns();
    work();
    const auto own_ns = static_cast<std::int64_t>(thread_cpu_ns() - start);
    const std::int64_t used_ns = own_ns + threads_.take_waiting_ns();
    const Primitives after = meter_.sample(large);
    recorder_.add(id(operation), before, after, static_cast<double>(used_ns) / count);
  }

  void key_packages() {
    for (std::uint32_t i = 0; i < options_.pairs && !late(); ++i) {
      measure(Operation::kKeyPackage, kMessagesARepetition, [&] {
        for (std::uint32_t k = 0; k < kMessagesARepetition; ++k) {
          (void)crowd_.make_package(signer_, k);
        }
      });
    }
  }

  // The floor leaves the caller's processor warm; the lent thread's has done something else meanwhile. So both do what
  // the floor does once more, untimed.
  void warm_both_threads() {
    mls::parallel_for(&threads_, 2, [this](std::size_t i) { (void)warm_up_meters_[i].sample(); });
  }

  // A group is made, one of its members joins, and its maker updates before anybody else has.
  void from_nothing(const GroupConfig& config, Operation create, Operation join, Operation update) {
    Group alice = crowd_.create(config, signer_);
    mls::CommitOptions options;
    options.now_s = kNow_s;
    for (std::uint32_t i = 0; i < members_; ++i) {
      options.add.push_back(crowd_[i].package.message);
    }
    const auto rehearse = [&] {
      if (config.parallel != nullptr) {
        warm_both_threads();
      }
    };
    mls::CommitResult made;
    measure(create, 1, [&] {
      made = get(alice.commit(options), "adding all");
      must(alice.accept_commit(), "accepting a commit");
    }, rehearse);
    std::optional<Group> bob;
    measure(join, 1, [&] { bob.emplace(crowd_.join(config, made.welcome, 0)); }, rehearse);
    Bytes updated;
    measure(update, 1, [&] { updated = commit(alice, update_options()); }, rehearse);
    if (&config == &one_) {
      alice_.emplace(std::move(alice));
      bob_ = std::move(bob);
      welcome_ = std::move(made.welcome);
      follow(*bob_, updated);
      commits_ = {std::move(updated)};
    }
  }

  // Another group of two, for rehearsals.
  void make_other() {
    other_alice_.emplace(crowd_.create(one_, signer_));
    mls::CommitOptions options;
    options.now_s = kNow_s;
    options.add = {crowd_[0].package.message};
    const auto made = get(other_alice_->commit(options), "adding one");
    must(other_alice_->accept_commit(), "accepting a commit");
    other_bob_.emplace(crowd_.join(one_, made.welcome, 0));
  }

  // Leaf 2^i commits for each i, so that each node beside the way up from leaf 0 has a key of its own.
  void warm_up() {
    std::vector<std::uint32_t> leaves;
    for (std::uint32_t leaf = 2; leaf <= members_; leaf *= 2) {
      leaves.push_back(leaf);
    }
    std::reverse(leaves.begin(), leaves.end());
    for (const std::uint32_t leaf : leaves) {
      Group other = crowd_.join(two_, welcome_, leaf - 1);
      for (const Bytes& message : commits_) {
        follow(other, message);
      }
      everybody(commit(other, update_options()));
    }
    Bytes own = commit(*bob_, update_options());
    follow(*alice_, own);
  }
  void everybody(Bytes message) {
    follow(*alice_, message);
    follow(*bob_, message);
    commits_.push_back(std::move(message));
  }

  void epoch() {
    Bytes message;
    measure(Operation::kUpdateWarm, 1, [&] { message = commit(*alice_, update_options()); });
    measure(Operation::kProcessUpdateWarm, 1, [&] { follow(*bob_, message); });
    const Bytes text(64, 'a');
    Bytes sealed;
    Bytes opened;
    mls::MessageInfo info;
    // The floor is a warm loop. A single message right after other work mostly waits for memory to bring the code back;
    // one in another group before it leaves what the epoch's first message costs.
    Bytes other;
    measure(
        Operation::kProtectFirst, 1, [&] { must(alice_->protect(text, {}, sealed), "protecting"); },
        [&] { must(other_alice_->protect(text, {}, other), "protecting"); });
    measure(
        Operation::kUnprotectFirst, 1, [&] { must(bob_->unprotect(sealed, opened, info), "unprotecting"); },
        [&] { must(other_bob_->unprotect(other, opened, info), "unprotecting"); });
  }

  void messages(std::size_t size, Operation protect, Operation unprotect) {
    const Bytes text(size, 'a');
    std::vector<Bytes> sealed(kMessagesARepetition);
    measure(protect, kMessagesARepetition, [&] {
      for (Bytes& each : sealed) {
        must(alice_->protect(text, {}, each), "protecting");
      }
    });
    Bytes opened;
    mls::MessageInfo info;
    measure(unprotect, kMessagesARepetition, [&] {
      for (const Bytes& each : sealed) {
        must(bob_->unprotect(each, opened, info), "unprotecting");
      }
    });
  }

  void snapshots() {
    (void)alice_->save();
    for (std::uint32_t i = 0; i < options_.pairs; ++i) {
      (void)get(alice_->protect(mls::as_view("hello")), "protecting");
      const std::uint64_t start = thread_cpu_ns();
      const mls::SecretBytes changes = alice_->save_changes();
      recorder_.add_absolute(id(Operation::kSnapshotTime), static_cast<double>(thread_cpu_ns() - start));
      recorder_.add_absolute(id(Operation::kSnapshotSize), static_cast<double>(changes.size()));
    }
  }

  // The heap that a member's state takes once it is back from a snapshot.
  void memory() {
    const mls::SecretBytes whole = bob_->save();
    const std::size_t before = heap_bytes();
    const Group copy = get(Group::restore(one_, whole), "restoring");
    const std::size_t after = heap_bytes();
    std::size_t theirs = 0;
    for (mls::LeafIndex i = 0; i < copy.leaf_count(); ++i) {
      if (const mls::LeafPtr& leaf = copy.member(i)) {
        theirs += leaf->credential_content().size();
        leaf->all_extensions([&](auto, View data) {
          theirs += data.size();
          return true;
        });
      }
    }
    const auto net = static_cast<double>(after - before) - static_cast<double>(theirs);
    recorder_.add_absolute(id(Operation::kMemory), net / copy.member_count());
  }

  // The longest call, by CPU time, of each operation that runs in steps: start, a step, finish, accept.
  class LongestCall {
   public:
    template <class F>
    auto operator()(F&& call) {
      const std::uint64_t start = thread_cpu_ns();
      auto result = call();
      longest_ns_ = std::max(longest_ns_, thread_cpu_ns() - start);
      return result;
    }
    template <class Operation>
    void run(Operation& operation, const char* what) {
      while (!get((*this)([&] { return operation.step(kStepOps); }), what)) {
      }
    }
    double nanoseconds() const { return static_cast<double>(longest_ns_); }

   private:
    static constexpr std::size_t kStepOps = 4;
    std::uint64_t longest_ns_ = 0;
  };

  mls::CommitResult commit_in_steps(Group& group, const mls::CommitOptions& options, LongestCall& longest) {
    auto operation = get(longest([&] { return group.start_commit(options); }), "starting a commit");
    longest.run(operation, "a step of a commit");
    auto made = get(longest([&] { return operation.finish(); }), "finishing a commit");
    must(longest([&] { return group.accept_commit(); }), "accepting a commit");
    return made;
  }
  void process_in_steps(Group& group, View message, LongestCall& longest) {
    auto operation = get(longest([&] { return group.start_process(message, kNow_s); }), "starting to process");
    longest.run(operation, "a step of processing");
    auto incoming = get(longest([&] { return operation.finish(); }), "finishing to process");
    must(longest([&] { return group.apply(std::move(std::get<mls::StagedCommit>(incoming))); }), "applying a commit");
  }
  Group join_in_steps(View welcome, std::uint32_t who, LongestCall& longest) {
    const mls::PrivateKeyPackage* packages[] = {&crowd_[who].package};
    mls::JoinOptions options;
    options.now_s = kNow_s;
    options.welcome = welcome;
    options.key_packages = packages;
    options.signer = &crowd_[who].signer;
    auto operation = get(longest([&] { return Group::start_join(one_, options); }), "starting to join");
    longest.run(operation, "a step of joining");
    return get(longest([&] { return operation.finish(); }), "finishing to join");
  }

  // A group of one adds another, then all the rest in one commit.
  void steps() {
    Group maker = crowd_.create(one_, signer_);
    mls::CommitOptions options;
    options.now_s = kNow_s;
    options.add = {crowd_[0].package.message};
    const auto first = get(maker.commit(options), "adding one");
    must(maker.accept_commit(), "accepting a commit");
    Group member = crowd_.join(one_, first.welcome, 0);
    options.add.clear();
    for (std::uint32_t i = 1; i < members_; ++i) {
      options.add.push_back(crowd_[i].package.message);
    }
    LongestCall create, process, join, restore, update;
    const auto made = commit_in_steps(maker, options, create);
    process_in_steps(member, made.commit, process);
    const Group joined = join_in_steps(made.welcome, members_ - 1, join);
    const mls::SecretBytes saved = maker.save();
    {
      auto operation = get(restore([&] { return Group::start_restore(one_, saved); }), "starting to restore");
      restore.run(operation, "a step of restoring");
      const Group restored = get(restore([&] { return operation.finish(); }), "finishing to restore");
    }
    commit_in_steps(maker, update_options(), update);
    recorder_.add_absolute(id(Operation::kStepCreate), create.nanoseconds());
    recorder_.add_absolute(id(Operation::kStepProcess), process.nanoseconds());
    recorder_.add_absolute(id(Operation::kStepJoin), join.nanoseconds());
    recorder_.add_absolute(id(Operation::kStepRestore), restore.nanoseconds());
    recorder_.add_absolute(id(Operation::kStepUpdate), update.nanoseconds());
  }

  void add_one(std::uint32_t i) {
    mls::CommitOptions options;
    options.now_s = kNow_s;
    options.add = {crowd_[members_ + i].package.message};
    options.tree_in_welcome = false;
    options.tree_in_result = false;
    Bytes message;
    measure(Operation::kAddCreate, 1, [&] { message = commit(*alice_, options); });
    measure(Operation::kAddProcess, 1, [&] { follow(*bob_, message); });
  }

  Crowd& crowd_;
  FloorMeter& meter_;
  Recorder& recorder_;
  const std::uint32_t members_;
  const Options& options_;
  const std::uint64_t end_ns_;
  TwoThreads threads_;
  std::array<FloorMeter, 2> warm_up_meters_;
  GroupConfig one_;
  GroupConfig two_;
  mls::SignatureKey signer_;
  std::optional<Group> alice_;  // leaf 0
  std::optional<Group> bob_;    // leaf 1
  std::optional<Group> other_alice_;
  std::optional<Group> other_bob_;
  Bytes welcome_;
  std::vector<Bytes> commits_;  // since the Welcome, of all but bob
};

struct Choice {
  std::vector<std::uint32_t> members;
  std::vector<std::uint16_t> suites = {1, 2};
};

// Takes `--members N` and `--suite N` out of the arguments; the harness knows the rest.
Choice take_choice(std::vector<char*>& arguments) {
  Choice choice;
  std::vector<char*> rest;
  std::vector<std::uint16_t> suites;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view word = arguments[i];
    const bool members = word == "--members";
    if (!members && word != "--suite") {
      rest.push_back(arguments[i]);
      continue;
    }
    const long value = ++i < arguments.size() ? std::strtol(arguments[i], nullptr, 10) : 0;
    if (value < 1 || value > (members ? 60'000 : 2)) {
      fmt::print(stderr, "{} needs a number from 1 to {}\n", word, members ? 60'000 : 2);
      std::exit(2);
    }
    members ? choice.members.push_back(static_cast<std::uint32_t>(value)) : suites.push_back(static_cast<std::uint16_t>(value));
  }
  arguments = std::move(rest);
  if (!suites.empty()) {
    choice.suites = suites;
  }
  return choice;
}

// CPU time of a Run, roughly, from a sample of the floor.
double expected_ns(const Primitives& p, double members, double pairs) {
  const double all = members * (2 * (2 * p.verify + 2 * p.dh) + 2 * p.verify + 4 * p.dh + 2 * p.keygen + 2 * p.sign);
  return all + std::log2(members) * members * p.verify + pairs * 16 * 2 * 15 * (p.verify + p.dh + p.keygen + p.sign);
}

int run_all(const Options& options, const Choice& choice) {
  const std::uint64_t start = wall_ns();
  const std::uint64_t end_ns = start + kQuickEnd_ns;
  Recorder recorder(options.busy);
  std::vector<std::string> left_out;
  recorder.print_header();
  std::map<std::uint16_t, Crowd> crowds;
  for (const std::uint32_t members : choice.members) {
    for (const std::uint16_t suite : choice.suites) {
      FloorMeter meter(suite);
      const std::uint64_t wall = wall_ns();
      const std::uint64_t cpu = thread_cpu_ns();
      const Primitives floor = meter.sample();
      const double slowness = static_cast<double>(wall_ns() - wall) / static_cast<double>(thread_cpu_ns() - cpu);
      const double left_ns = static_cast<double>(end_ns) - static_cast<double>(wall);
      if (options.quick && slowness * expected_ns(floor, members, options.pairs) > left_ns) {
        left_out.push_back(fmt::format("suite {}, N={}: no time for it", suite, members));
        continue;
      }
      Crowd& crowd = crowds.try_emplace(suite, *mls::find_suite(suite)).first->second;
      Run(crowd, meter, recorder, members, options, end_ns).run();
      recorder.print(suite, members);
    }
  }
  if (!options.quick) {
    recorder.print_shape();
  }
  return recorder.finish(options, left_out);
}

}  // namespace
}  // namespace slipway::bench

int main(int argc, char** argv) {
  using namespace slipway::bench;
  std::vector<char*> arguments(argv, argv + argc);
  Choice choice = take_choice(arguments);
  Options options = parse_options(static_cast<int>(arguments.size()), arguments.data());
  if (options.quick && options.pairs > 5) {
    options.pairs = 5;
  }
  if (choice.members.empty()) {
    choice.members = options.quick ? std::vector<std::uint32_t>{10, 1000} : std::vector<std::uint32_t>{10, 100, 1000, 5000};
  }
  return run_all(options, choice);
}

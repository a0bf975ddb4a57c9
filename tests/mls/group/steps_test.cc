// Long operations in steps: how much one call does, counted in work and not in time, and that it does not grow with
// the group.
#include <algorithm>

#include "work_meter.h"
#include "world.h"

namespace slipway::mls {
namespace {

using testing::Client;
using testing::commit_options;
using testing::kNow_s;
using testing::SeededRandom;
using testing::Work;
using testing::work_done;

constexpr size_t kStepOps = 4;
// What a call may do beyond its budget: the last item that it began, and what is not divided, of which the most are the
// keys of a path.
constexpr size_t kPathLength = 12;
constexpr size_t kMostUnits = (kStepOps + 2 + kPathLength) * Budget::kPublicKeyOp;

// The most that one of the calls timed with it did.
class Longest {
 public:
  template <class F>
  auto operator()(F&& call) {
    const Work before = work_done();
    auto result = call();
    most_ = std::max(most_, (work_done() - before).units());
    ++calls_;
    return result;
  }
  size_t units() const { return most_; }
  size_t calls() const { return calls_; }

 private:
  size_t most_ = 0;
  size_t calls_ = 0;
};

template <class Operation>
void run(Operation& operation, Longest& longest) {
  while (true) {
    const Result<bool> done = longest([&] { return operation.step(kStepOps); });
    ASSERT_TRUE(done.has_value()) << done.error().text;
    if (*done) {
      return;
    }
  }
}

// A group of that many, made, joined, restored and updated in steps.
class Steps {
 public:
  Steps(uint16_t suite, size_t members, WireFormat format) : suite_(*find_suite(suite)) {
    policy_.format = format;
    for (size_t i = 0; i < members; ++i) {
      clients_.push_back(std::make_unique<Client>(suite_, random_, "client " + std::to_string(i)));
      clients_.back()->config.policy = &policy_;
      packages_.push_back(clients_.back()->make_package());
    }
  }

  void run_all() {
    Client& a = *clients_[0];
    a.create();
    testing::add_all(a, {clients_[1].get()});
    commit_adds();
    if (::testing::Test::HasFatalFailure()) {
      return;
    }
    process(commit_, processed);
    joining();
    restore(*a.group, restored);
    CommitOptions update = commit_options();
    update.force_path = true;
    make(update, updated);
    restore(*a.group, restored_pending);
    ASSERT_TRUE(accepted([&] { return a.group->accept_commit(); }).has_value());
    process(commit_, processed_update);
  }

  Longest committed, accepted, processed, joined, restored, updated, restored_pending, processed_update;

 private:
  struct FormatPolicy final : Policy {
    WireFormat format{};
    WireFormat handshake_wire_format() override { return format; }
  };

  void make(const CommitOptions& options, Longest& longest) {
    Group& group = *clients_[0]->group;
    auto operation = longest([&] { return group.start_commit(options); });
    ASSERT_TRUE(operation.has_value()) << operation.error().text;
    run(*operation, longest);
    auto made = longest([&] { return operation->finish(); });
    ASSERT_TRUE(made.has_value()) << made.error().text;
    commit_ = std::move(made->commit);
    welcome_ = std::move(made->welcome);
  }
  void commit_adds() {
    CommitOptions options = commit_options();
    for (size_t i = 2; i < packages_.size(); ++i) {
      options.add.push_back(packages_[i].message);
    }
    make(options, committed);
    ASSERT_TRUE(accepted([&] { return clients_[0]->group->accept_commit(); }).has_value());
  }
  void process(View message, Longest& longest) {
    Group& group = *clients_[1]->group;
    auto operation = longest([&] { return group.start_process(message, kNow_s); });
    ASSERT_TRUE(operation.has_value()) << operation.error().text;
    run(*operation, longest);
    auto incoming = longest([&] { return operation->finish(); });
    ASSERT_TRUE(incoming.has_value()) << incoming.error().text;
    auto* staged = std::get_if<StagedCommit>(&*incoming);
    ASSERT_NE(staged, nullptr);
    ASSERT_TRUE(accepted([&] { return group.apply(std::move(*staged)); }).has_value());
  }
  void joining() {
    Client& joiner = *clients_.back();
    const PrivateKeyPackage* mine[] = {&packages_.back()};
    JoinOptions options;
    options.now_s = kNow_s;
    options.welcome = welcome_;
    options.key_packages = mine;
    options.signer = &joiner.signer;
    auto operation = joined([&] { return Group::start_join(joiner.config, options); });
    ASSERT_TRUE(operation.has_value()) << operation.error().text;
    run(*operation, joined);
    auto group = joined([&] { return operation->finish(); });
    ASSERT_TRUE(group.has_value()) << group.error().text;
    EXPECT_TRUE(equal(group->epoch_authenticator(), clients_[0]->group->epoch_authenticator()));
  }
  void restore(Group& group, Longest& longest) {
    const SecretBytes saved = group.save();
    auto operation = longest([&] { return Group::start_restore(clients_[0]->config, saved); });
    ASSERT_TRUE(operation.has_value()) << operation.error().text;
    run(*operation, longest);
    auto back = longest([&] { return operation->finish(); });
    ASSERT_TRUE(back.has_value()) << back.error().text;
    EXPECT_TRUE(equal(back->epoch_authenticator(), group.epoch_authenticator()));
    EXPECT_EQ(back->has_pending_commit(), group.has_pending_commit());
  }

  const Suite& suite_;
  SeededRandom random_{21};
  FormatPolicy policy_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<PrivateKeyPackage> packages_;
  Bytes commit_;
  Bytes welcome_;
};

class StepsTest : public ::testing::TestWithParam<std::tuple<uint16_t, WireFormat>> {};

TEST_P(StepsTest, OneCallDoesLittleAtAnySize) {
  const auto [suite, format] = GetParam();
  Steps small(suite, 300, format);
  small.run_all();
  ASSERT_FALSE(HasFatalFailure());
  Steps large(suite, 1200, format);
  large.run_all();
  ASSERT_FALSE(HasFatalFailure());
  const auto check = [&](const char* what, Longest Steps::*operation) {
    EXPECT_LE((large.*operation).units(), kMostUnits) << what;
    // Nothing that grows with the group is left in one call, but for some allocations.
    EXPECT_LE((large.*operation).units(), (small.*operation).units() + 3 * Budget::kPublicKeyOp) << what;
    RecordProperty(what, static_cast<int>((large.*operation).units()));
  };
  check("commit", &Steps::committed);
  check("accept", &Steps::accepted);
  check("process", &Steps::processed);
  check("join", &Steps::joined);
  check("restore", &Steps::restored);
  check("update", &Steps::updated);
  check("process update", &Steps::processed_update);
  EXPECT_LE(large.restored_pending.units(), kMostUnits) << "restore with a pending commit";
  EXPECT_GT(large.committed.calls(), 1000u);
  EXPECT_GT(large.joined.calls(), 300u);
  EXPECT_GT(large.restored.calls(), 10u);
}

INSTANTIATE_TEST_SUITE_P(Suites, StepsTest,
                         ::testing::Combine(::testing::Values(uint16_t{1}, uint16_t{2}),
                                            ::testing::Values(WireFormat::kPublicMessage,
                                                              WireFormat::kPrivateMessage)));

// What others did to the group in between.
TEST(StepsMeet, ProposalsThatComeWhileACommitIsMade) {
  SeededRandom random{22};
  Client a(*find_suite(uint16_t{1}), random, "a");
  Client b(*find_suite(uint16_t{1}), random, "b");
  a.create();
  testing::add_all(a, {&b});
  CommitOptions options = commit_options();
  options.force_path = true;
  auto operation = a.group->start_commit(options);
  ASSERT_TRUE(operation.has_value());
  for (bool done = false; !done;) {
    auto step = operation->step(1);
    ASSERT_TRUE(step.has_value());
    done = *step;
  }
  // The key that the commit was sealed with goes to a proposal first.
  auto proposal = a.group->propose_update();
  ASSERT_TRUE(proposal.has_value());
  auto made = operation->finish();
  ASSERT_TRUE(made.has_value()) << made.error().text;
  ASSERT_TRUE(b.group->process(*proposal, kNow_s).has_value());
  ASSERT_TRUE(testing::follow(*b.group, made->commit).has_value());
  ASSERT_TRUE(a.group->accept_commit().has_value());
  EXPECT_TRUE(equal(a.group->epoch_authenticator(), b.group->epoch_authenticator()));
}

TEST(StepsMeet, ProposalsThatComeWhileACommitIsProcessed) {
  SeededRandom random{23};
  const Suite& suite = *find_suite(uint16_t{1});
  Client a(suite, random, "a");
  Client b(suite, random, "b");
  a.create();
  testing::add_all(a, {&b});
  auto update = b.group->propose_update();
  ASSERT_TRUE(update.has_value());
  ASSERT_TRUE(a.group->process(*update, kNow_s).has_value());
  auto made = a.group->commit(commit_options());
  ASSERT_TRUE(made.has_value());
  auto operation = b.group->start_process(made->commit, kNow_s);
  ASSERT_TRUE(operation.has_value());
  for (size_t i = 0; i < 2000; ++i) {
    auto step = operation->step(1);
    ASSERT_TRUE(step.has_value()) << step.error().text;
    if (*step) {
      break;
    }
    if (i < 8) {
      ASSERT_TRUE(b.group->propose_update().has_value());  // makes the lists move
    }
  }
  auto incoming = operation->finish();
  ASSERT_TRUE(incoming.has_value()) << incoming.error().text;
  ASSERT_TRUE(b.group->apply(std::move(std::get<StagedCommit>(*incoming))).has_value());
  ASSERT_TRUE(a.group->accept_commit().has_value());
  EXPECT_TRUE(equal(a.group->epoch_authenticator(), b.group->epoch_authenticator()));
}

}  // namespace
}  // namespace slipway::mls

// Applications that are gone without a word and come back from their file.

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "../client/fake_node.h"
#include "app/blocking.h"
#include "kept_sessions/kept_sessions.h"

namespace slipway {
namespace {

using namespace std::chrono_literals;

constexpr const char* kSecret = "a-shared-secret-of-at-least-32-bytes!!";

TextName named(const std::string& last) { return {{"org", "ns", last}, kNullId}; }

template <class T, class E>
T get(std::expected<T, E> result) {
  if (!result) {
    if constexpr (std::is_same_v<E, std::string>) {
      throw std::runtime_error(result.error());
    } else {
      throw std::runtime_error(result.error().message());
    }
  }
  if constexpr (!std::is_void_v<T>) {
    return std::move(*result);
  }
}
std::string text(const AppMessage& message) { return std::string(text_of(message.payload)); }

// Until it comes: while keys are made anew, messages may be lost or refused.
std::string heard(BlockingSession& from, BlockingSession& to, const std::string& wanted) {
  for (int i = 0; i < 100; ++i) {
    (void)from.publish(wanted);
    for (auto message = to.get_message(300ms); message; message = to.get_message(10ms)) {
      if (text(*message) == wanted) {
        return wanted;
      }
    }
  }
  return {};
}

class Kept : public testing::TestWithParam<bool> {
 protected:
  Kept() {
    std::string pattern = (std::filesystem::temp_directory_path() / "slipway-kept-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    std::ofstream(folder_ / "key") << std::string(32, 'k');
    chmod((folder_ / "key").c_str(), 0600);
  }
  ~Kept() override { std::filesystem::remove_all(folder_); }

  // An application with its file, on a loop of its own.
  struct Life {
    std::shared_ptr<LoopThread> thread;
    std::shared_ptr<KeptSessions> kept;
    std::unique_ptr<BlockingApp> app;
    std::vector<std::string> troubles;
  };
  std::unique_ptr<Life> life(const std::string& name) {
    auto one = std::make_unique<Life>();
    one->thread = get(LoopThread::start());
    one->kept = get(KeptSessions::open_on(one->thread, {.file = (folder_ / name).string(),
                                                        .key_file = (folder_ / "key").string(),
                                                        .on_trouble = [raw = one.get()](const std::string& what) { raw->troubles.push_back(what); }}));
    auto identity = one->thread->run([&] { return one->kept->identity({.base = "org/ns/" + name, .secret = kSecret}); });
    one->app = get(BlockingApp::create({.name = named(name), .identity = get(std::move(identity)), .keeper = one->kept.get()}, one->thread));
    get(one->app->connect({.address = node_.tcp()}));
    return one;
  }
  std::unique_ptr<BlockingApp> plain(const std::string& name) {
    auto app = get(BlockingApp::create({.name = named(name), .identity = shared_secret_identity({.base = "org/ns/" + name, .secret = kSecret}).value()}));
    get(app->connect({.address = node_.tcp()}));
    return app;
  }
  MulticastOptions room() const { return {.channel = named("room"), .timeout = 300ms, .max_retries = 100, .mls_enabled = GetParam()}; }

  FakeNode node_;
  std::filesystem::path folder_;
};

TEST_P(Kept, AMemberComesBackIntoItsChannel) {
  const auto alice = plain("alice");
  const auto in_alice = get(alice->create_session(room()));
  auto bob = life("bob");
  const FullName before = bob->app->name();
  get(in_alice->invite(named("bob")));
  auto in_bob = get(bob->app->listen_for_session());
  EXPECT_EQ(heard(*in_alice, *in_bob, "before"), "before");
  in_bob.reset();
  bob->app.reset();  // without a word
  bob.reset();
  bob = life("bob");
  EXPECT_EQ(bob->app->name(), before);
  in_bob = get(bob->app->listen_for_session());
  EXPECT_EQ(in_bob->id(), in_alice->id());
  EXPECT_FALSE(in_bob->is_creator());
  EXPECT_EQ(heard(*in_alice, *in_bob, "after"), "after");
  EXPECT_EQ(heard(*in_bob, *in_alice, "of bob"), "of bob");
  EXPECT_EQ(in_alice->participants().size(), 2u);
  EXPECT_TRUE(bob->troubles.empty());
}

TEST_P(Kept, AModeratorComesBackIntoItsChannel) {
  auto alice = life("alice");
  auto in_alice = get(alice->app->create_session(room()));
  const auto bob = plain("bob");
  get(in_alice->invite(named("bob")));
  const auto in_bob = get(bob->listen_for_session());
  EXPECT_EQ(heard(*in_alice, *in_bob, "before"), "before");
  in_alice.reset();
  alice->app.reset();
  alice.reset();
  alice = life("alice");
  in_alice = get(alice->app->listen_for_session());
  EXPECT_TRUE(in_alice->is_creator());
  EXPECT_EQ(heard(*in_alice, *in_bob, "after"), "after");
  EXPECT_EQ(heard(*in_bob, *in_alice, "of bob"), "of bob");
  const auto carol = plain("carol");  // who moderates still does
  get(in_alice->invite(named("carol")));
  const auto in_carol = get(carol->listen_for_session());
  EXPECT_EQ(heard(*in_bob, *in_carol, "to carol"), "to carol");
}

TEST_P(Kept, AUnicastSessionGoesOn) {
  const auto alice = plain("alice");
  auto bob = life("bob");
  const auto to_bob = get(alice->create_session(UnicastOptions{.peer = named("bob"), .timeout = 300ms, .max_retries = 100, .mls_enabled = GetParam()}));
  auto in_bob = get(bob->app->listen_for_session());
  EXPECT_EQ(heard(*to_bob, *in_bob, "before"), "before");
  in_bob.reset();
  bob->app.reset();
  bob.reset();
  bob = life("bob");
  in_bob = get(bob->app->listen_for_session());
  EXPECT_EQ(heard(*to_bob, *in_bob, "after"), "after");
  EXPECT_EQ(heard(*in_bob, *to_bob, "of bob"), "of bob");
}

TEST_P(Kept, WhatWasClosedStaysClosed) {
  auto alice = life("alice");
  auto in_alice = get(alice->app->create_session(room()));
  const auto bob = plain("bob");
  get(in_alice->invite(named("bob")));
  get(in_alice->close());
  in_alice.reset();
  alice->app.reset();
  alice.reset();
  alice = life("alice");
  EXPECT_EQ(alice->app->listen_for_session(200ms).error().fault, AppFault::kTimeout);
  EXPECT_TRUE(alice->troubles.empty());
}

// Killed with messages under way. What it had taken and not yet worked on is gone with it, what it had worked on since the last write
// may come again; what is sent from then on comes once and in order.
TEST_P(Kept, KilledUnderLoad) {
  const auto alice = plain("alice");
  const auto in_alice = get(alice->create_session(room()));
  const auto file = (folder_ / "heard").string();
  const auto child = [&] {
    const pid_t pid = fork();
    if (pid == 0) {
      execl("/proc/self/exe", "kept_sessions_test", "--member", node_.tcp().c_str(), folder_.c_str(), nullptr);
      _exit(127);
    }
    return pid;
  };
  pid_t pid = child();
  std::expected<void, AppError> invited;
  for (int i = 0; i < 100 && !(invited = in_alice->invite(named("bob"))); ++i) {
    usleep(100'000);
  }
  ASSERT_TRUE(invited);
  std::vector<BlockingSession::Published> sent;
  for (int i = 0; i < 300; ++i) {
    sent.push_back(in_alice->publish(std::to_string(i)));
    ASSERT_TRUE(sent.back()) << sent.back().error().message();
    if (i == 100 || i == 200) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
      pid = child();
    }
  }
  for (auto& one : sent) {
    ASSERT_TRUE(one->wait(60s));
  }
  (void)in_alice->publish("end");
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
  std::ifstream lines(file);
  std::vector<int> numbers;
  for (int number = 0; lines >> number;) {
    numbers.push_back(number);
  }
  for (int number = 201; number < 300; ++number) {
    EXPECT_EQ(std::ranges::count(numbers, number), 1) << number;
  }
  const auto last_life = std::ranges::find(numbers, 201);
  EXPECT_TRUE(std::is_sorted(last_life, numbers.end()));
  EXPECT_GE(std::ranges::count_if(numbers, [](int number) { return number <= 200; }), 50);
}

TEST_P(Kept, AnotherKeyOpensNothing) {
  { const auto alice = life("alice"); }
  std::ofstream(folder_ / "key") << std::string(32, 'x');
  const auto loop = get(Loop::create());
  const auto opened = KeptSessions::open(*loop, {.file = (folder_ / "alice").string(), .key_file = (folder_ / "key").string()});
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().find("key does not fit"), std::string::npos) << opened.error();
  EXPECT_FALSE(KeptSessions::open(*loop, {.file = (folder_ / "alice").string(), .key_file = (folder_ / "none").string()}));
}

INSTANTIATE_TEST_SUITE_P(Mls, Kept, testing::Bool(), [](const auto& one) { return one.param ? "on" : "off"; });

// The member that is killed: writes each number that it hears, until it hears the end.
int member(const std::string& node, const std::filesystem::path& folder) {
  const auto thread = get(LoopThread::start());
  const auto kept = get(KeptSessions::open_on(thread, {.file = (folder / "bob").string(), .key_file = (folder / "key").string(), .on_trouble = {}}));
  auto identity = get(thread->run([&] { return kept->identity({.base = "org/ns/bob", .secret = kSecret}); }));
  const auto bob = get(BlockingApp::create({.name = named("bob"), .identity = std::move(identity), .keeper = kept.get()}, thread));
  get(bob->connect({.address = node}));
  const auto session = get(bob->listen_for_session(60s));
  std::ofstream out(folder / "heard", std::ios::app);
  for (;;) {
    const std::string word = text(get(session->get_message(60s)));
    if (word == "end") {
      return 0;
    }
    out << word << std::endl;
  }
}

}  // namespace
}  // namespace slipway

int main(int argc, char** argv) {
  if (argc == 4 && std::string(argv[1]) == "--member") {
    return slipway::member(argv[2], argv[3]);
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

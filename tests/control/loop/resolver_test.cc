// Names to addresses: against a server of our own on loopback that says what the test wants.

#include "loop/resolver.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>

namespace slipway {
namespace {

constexpr std::uint16_t kA = 1, kAaaa = 28;

// Answers each question for a name that it knows with these addresses, others with "no such name"; silent when told so.
class Server {
 public:
  explicit Server(Loop& loop) : loop_(loop), fd_(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    socklen_t bytes = sizeof at;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &bytes);
    address = "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
    EXPECT_TRUE(loop.watch(fd_, fd_event::kReadable, [this](std::uint32_t) { answer(); }));
  }
  ~Server() {
    loop_.unwatch(fd_);
    close(fd_);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::string address;
  std::map<std::string, std::vector<std::string>> names;
  bool silent = false;
  bool garbage = false;
  int asked = 0;

 private:
  void answer() {
    std::array<std::uint8_t, 512> packet{};
    sockaddr_in from{};
    socklen_t bytes = sizeof from;
    const auto got = recvfrom(fd_, packet.data(), packet.size(), 0, reinterpret_cast<sockaddr*>(&from), &bytes);
    if (got < 12 || silent) {
      return;
    }
    ++asked;
    std::string name;
    std::size_t at = 12;
    while (at < static_cast<std::size_t>(got) && packet[at] != 0) {
      name += (name.empty() ? "" : ".") + std::string(reinterpret_cast<const char*>(&packet[at + 1]), packet[at]);
      at += packet[at] + 1u;
    }
    const auto type = static_cast<std::uint16_t>(packet[at + 1] << 8 | packet[at + 2]);
    std::vector<std::uint8_t> reply(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(at + 5));
    reply[2] = 0x81;
    const bool known = names.contains(name);
    reply[3] = known ? 0x80 : 0x83;
    std::memset(&reply[6], 0, 6);
    for (const auto& text : known ? names[name] : std::vector<std::string>{}) {
      std::array<std::uint8_t, 16> host{};
      const bool v6 = text.find(':') != std::string::npos;
      if (v6 != (type == kAaaa) || (type != kA && type != kAaaa)) {
        continue;
      }
      inet_pton(v6 ? AF_INET6 : AF_INET, text.c_str(), host.data());
      const std::uint8_t length = v6 ? 16 : 4;
      for (const int byte : {0xC0, 12, 0, static_cast<int>(type), 0, 1, 0, 0, 0, 60, 0, static_cast<int>(length)}) {
        reply.push_back(static_cast<std::uint8_t>(byte));
      }
      reply.insert(reply.end(), host.begin(), host.begin() + length);
      ++reply[7];
    }
    if (garbage) {
      std::fill(reply.begin() + 4, reply.end(), std::uint8_t{0xFF});
    }
    sendto(fd_, reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), sizeof from);
  }
  Loop& loop_;
  int fd_;
};

std::string text_of(const HostAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  return inet_ntop(address.family, address.bytes, text.data(), text.size());
}

class ResolverTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = Loop::create();
    ASSERT_TRUE(made);
    loop = std::move(*made);
    server = std::make_unique<Server>(*loop);
    resolver = std::make_unique<Resolver>(*loop, server->address);
  }
  Resolver::Answer ask(const std::string& host) {
    std::optional<Resolver::Answer> out;
    resolver->resolve(host, [&](Resolver::Answer answer) { out = std::move(answer); });
    EXPECT_FALSE(out) << "never from within";
    while (!out) {
      loop->turn(10'000'000);
    }
    return *out;
  }
  std::unique_ptr<Loop> loop;
  std::unique_ptr<Server> server;
  std::unique_ptr<Resolver> resolver;
};

TEST_F(ResolverTest, FindsAllAddressesAndAsksAnewEachTime) {
  server->names["node.test"] = {"192.0.2.1", "192.0.2.2", "2001:db8::7"};
  const auto first = ask("node.test");
  ASSERT_TRUE(first) << first.error();
  std::vector<std::string> texts;
  for (const auto& address : *first) {
    texts.push_back(text_of(address));
  }
  std::ranges::sort(texts);
  EXPECT_EQ(texts, (std::vector<std::string>{"192.0.2.1", "192.0.2.2", "2001:db8::7"}));
  server->names["node.test"] = {"192.0.2.9"};
  const auto again = ask("node.test");
  ASSERT_TRUE(again);
  ASSERT_EQ(again->size(), 1u);
  EXPECT_EQ(text_of(again->front()), "192.0.2.9");
  EXPECT_EQ(resolver->open(), 0u);
}

TEST_F(ResolverTest, SaysWhatFailedAndWhatToTry) {
  const auto unknown = ask("nobody.test.");
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().find("`nobody.test.` cannot be resolved"), std::string::npos);
  EXPECT_NE(unknown.error().find("spelling"), std::string::npos) << unknown.error();
  server->names["empty.test"] = {};
  EXPECT_FALSE(ask("empty.test."));
  server->garbage = true;
  EXPECT_FALSE(ask("garbage.test."));
  server->garbage = false;
  server->silent = true;
  const auto nobody = ask("node.test.");
  ASSERT_FALSE(nobody);
  EXPECT_NE(nobody.error().find("resolv.conf"), std::string::npos) << nobody.error();
}

TEST_F(ResolverTest, ManyQuestionsAtOnceAndSomeTakenBack) {
  server->names["a.test"] = {"192.0.2.1"};
  int answered = 0;
  std::vector<std::uint64_t> questions;
  for (int i = 0; i < 50; ++i) {
    questions.push_back(resolver->resolve("a.test", [&](Resolver::Answer answer) { answered += answer ? 1 : 0; }));
  }
  for (std::size_t i = 0; i < questions.size(); i += 2) {
    resolver->cancel(questions[i]);
  }
  EXPECT_EQ(resolver->open(), 25u);
  while (resolver->open() != 0) {
    loop->turn(10'000'000);
  }
  EXPECT_EQ(answered, 25);
  // One that asks again from its own answer, and a resolver that goes away with questions open.
  resolver->resolve("a.test", [&](Resolver::Answer) { resolver->resolve("a.test", [&](Resolver::Answer) { ++answered; }); });
  while (answered != 26) {
    loop->turn(10'000'000);
  }
  // ... and one that goes away in an answer.
  auto other = std::make_unique<Resolver>(*loop, server->address);
  other->resolve("a.test", [&](Resolver::Answer) { other.reset(); });
  while (other) {
    loop->turn(10'000'000);
  }
  server->silent = true;
  resolver->resolve("b.test", [&](Resolver::Answer) { ++answered; });
  loop->turn(0);
  resolver.reset();
  loop->turn(20'000'000);
  EXPECT_EQ(answered, 26);
}

TEST(HostName, WhatMayBeOne) {
  for (const char* good : {"localhost", "node-1.example.org", "a_b", "x1", "1x", "example.org.", "10.example"}) {
    EXPECT_TRUE(is_host_name(good)) << good;
  }
  for (const char* bad : {"", "1.2.3", "1.2.3.256", ".x", "-x", "a..b", "a b", "a/b", "::1", "1", "a.1", "."}) {
    EXPECT_FALSE(is_host_name(bad)) << bad;
  }
  EXPECT_FALSE(is_host_name(std::string(254, 'a')));
}

}  // namespace
}  // namespace slipway

// slipwayctl without a node: tables, values, recorded answers, histograms, completion, manual page, the HTTP client
// against a server that answers what the test says.

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmath>
#include <random>
#include <thread>

#include "api_client.h"
#include "bench_histogram.h"
#include "bench_run.h"
#include "command_tree.h"
#include "render.h"
#include "table.h"
#include "verbs.h"

namespace slipway::ctl {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Values, AreReadable) {
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(1000), "1,000");
  EXPECT_EQ(count_text(1234567), "1,234,567");
  EXPECT_EQ(count_text(~std::uint64_t{0}), "18,446,744,073,709,551,615");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(8u << 20), "8.0 MiB");
  EXPECT_EQ(duration_text(999), "999 ms");
  EXPECT_EQ(duration_text(1500), "1.5 s");
  EXPECT_EQ(duration_text(61'000), "1m 1s");
  EXPECT_EQ(duration_text(93'784'000), "1d 2h");
  EXPECT_EQ(rate_text(1234567), "1.23 M/s");
  EXPECT_EQ(rate_text(12), "12 /s");
  EXPECT_EQ(percent_text(0.1234), "12.3 %");
}

TEST(Values, WhatPeersSayCannotDriveTheTerminal) {
  EXPECT_EQ(safe_text("a\x1b[31mred\n"), "a\\x1b[31mred\\x0a");
  EXPECT_EQ(safe_text("h\xC3\xA9llo"), "h\xC3\xA9llo");
  EXPECT_EQ(safe_text("bad\xFF"), "bad\\xff");
}

TEST(Tables, AlignAlsoWithUtf8) {
  Table table({{"NAME"}, {"N", Align::kRight}});
  table.add({"h\xC3\xA9", "1"});
  table.add({"longer", "100"});
  table.add({"", ""});
  EXPECT_EQ(table.text(), "NAME      N\nh\xC3\xA9        1\nlonger  100\n-         -\n");
}

TEST(Rendering, OfAnAnswerThatIsEmptyOrNoJsonNeverFails) {
  for (const char* json : {"{}", "", "[]", "nonsense", "{\"links\": 5, \"workers\": {\"a\": 1}, \"drops\": null, \"ports\": [1, 2], \"matches\": [null]}"}) {
    for (const auto render : {render_status, render_ports, render_links, render_routes, render_explain, render_drops, render_books, render_workers, render_memory, render_config,
                              render_version, render_reload, render_trace_line}) {
      EXPECT_FALSE(render(json).empty());
    }
    EXPECT_FALSE(books_balance(json));
  }
}

TEST(Rendering, MemoryNamesTheLimitOnRoutes) {
  const auto text = render_memory(R"({"routing": {"routes": 3, "route_limit": 4194304, "names": 5}})");
  EXPECT_THAT(text, HasSubstr("3 of at most 4,194,304; 5 names in the tables"));
}

TEST(Rendering, Links) {
  const auto text = render_links(R"({"links": [{"link": 7, "state": "up", "class": "edge", "transport": "tcp", "peer": "127.0.0.1:5000", "node_id": "worker-1", "worker": "w0",
    "subscriptions": 3, "frames_in": 12345, "frames_sent": 1, "queued_bytes": 2048, "drops": {"no_route": 2, "hop_limit": 3}, "idle_ms": 1500, "stalled": true, "last_error": ""}],
    "connect": [{"name": "uplink", "address": "tcp://10.0.0.1:46367", "class": "peer", "state": "waiting", "attempts": 4, "link": 0, "last_error": "refused"}],
    "recent": [{"link": 3, "peer": "p", "node_id": "n", "reason": "peer closed", "ago_ms": 10}], "next": 7})");
  EXPECT_THAT(text, HasSubstr("12,345"));
  EXPECT_THAT(text, HasSubstr("stalled"));
  EXPECT_THAT(text, HasSubstr("2.0 KiB      5"));
  EXPECT_THAT(text, HasSubstr("uplink"));
  EXPECT_THAT(text, HasSubstr("peer closed"));
  EXPECT_THAT(text, HasSubstr("--after 7"));
  EXPECT_EQ(render_links(R"({"links": [], "next": 0})"), "no links\n");
}

TEST(Rendering, DropsSayWhatToDoMostFirst) {
  const auto text = render_drops(R"({"total": 7, "drops": [
    {"reason": "hop_limit", "count": 2, "what": "used up", "advice": "look for a loop", "links": []},
    {"reason": "no_route", "count": 5, "what": "nobody", "advice": "start the receiver", "links": [{"link": 4, "peer": "1.2.3.4:5", "count": 5}]},
    {"reason": "queue_full", "count": 0, "what": "x", "advice": "y", "links": []}]})");
  EXPECT_LT(text.find("no_route"), text.find("hop_limit"));
  EXPECT_THAT(text, HasSubstr("what to do: start the receiver"));
  EXPECT_THAT(text, HasSubstr("5 on link 4 (1.2.3.4:5)"));
  EXPECT_THAT(text, Not(HasSubstr("queue_full")));
  EXPECT_EQ(render_drops(R"({"drops": []})"), "nothing has been dropped\n");
}

TEST(Rendering, ExplainNamesTheReasonOfEachMatch) {
  const auto text = render_explain(R"({"name": "o/n/s", "from": 2, "total": 3, "matches": [
    {"link": 2, "peer": "a", "node_id": "", "class": "edge", "ids": 1, "is_ingress": true, "class_allowed": true, "candidate": false},
    {"link": 3, "peer": "b", "node_id": "", "class": "edge", "ids": 1, "is_ingress": false, "class_allowed": true, "candidate": true},
    {"link": 4, "peer": "c", "node_id": "", "class": "remote", "ids": 2, "is_ingress": false, "class_allowed": true, "candidate": false}],
    "anycast": "link 3", "multicast": "2 links", "drop": null})");
  EXPECT_THAT(text, HasSubstr("the frame came from it"));
  EXPECT_THAT(text, HasSubstr("candidate"));
  EXPECT_THAT(text, HasSubstr("a nearer class has a subscriber"));
  EXPECT_THAT(text, HasSubstr("no rule would drop it"));
}

TEST(Rendering, Books) {
  EXPECT_TRUE(books_balance(R"({"balanced": true})"));
  EXPECT_THAT(render_books(R"({"balanced": false, "workers": [], "total": {"worker": "total", "frames": {"in": 1, "difference": -1}}})"), HasSubstr("do NOT balance"));
}

TEST(Rendering, ATraceLine) {
  const auto text = render_trace_line(R"({"time_ns": 3661000002000, "from": 3, "bytes": 200, "kind": 1, "hop_limit": 8, "fanout": 1, "session": 0, "message": 0, "destination": "a/b/c",
    "candidates": {"edge": 2, "local": 0, "peer": 1, "remote": 0}, "verdict": "sent to link 4"})");
  EXPECT_THAT(text, HasSubstr("01:01:01.000002  link 3 > publish, 200 B to a/b/c (one), hop limit 8"));
  EXPECT_THAT(text, HasSubstr("matched 2 edge, 1 peer"));
  EXPECT_THAT(text, HasSubstr("sent to link 4"));
}

TEST(Histograms, PercentilesAreCloseAndNeverTooSmall) {
  std::mt19937_64 random(7);
  std::vector<std::uint64_t> values;
  Histogram histogram;
  for (int i = 0; i < 100'000; ++i) {
    const auto value = static_cast<std::uint64_t>(std::exp(std::uniform_real_distribution<double>(0, 24)(random)));
    values.push_back(value);
    histogram.add(value);
  }
  std::sort(values.begin(), values.end());
  EXPECT_EQ(histogram.count(), values.size());
  EXPECT_EQ(histogram.largest(), values.back());
  for (const double share : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    const auto exact = static_cast<double>(values[static_cast<std::size_t>(share * 100'000)]);
    const auto got = static_cast<double>(histogram.percentile(share));
    EXPECT_GE(got, exact) << share;
    EXPECT_LE(got, exact * 1.04 + 1) << share;
  }
  EXPECT_EQ(histogram.percentile(1), values.back());
  EXPECT_EQ(Histogram().percentile(0.5), 0u);
  Histogram extreme;
  extreme.add(~std::uint64_t{0});
  EXPECT_EQ(extreme.largest(), ~std::uint64_t{0});
}

TEST(BenchPlans, Patterns) {
  EXPECT_EQ(bench_plan("1:16")->receivers, 16u);
  EXPECT_TRUE(bench_plan("1:16")->channel);
  EXPECT_EQ(bench_plan("8:1")->senders, 8u);
  EXPECT_FALSE(bench_plan("1:1")->channel);
  EXPECT_TRUE(bench_plan("request")->request_reply);
  for (const char* bad : {"", "1", "1:", ":1", "0:1", "2:2", "1:1001", "1:x", "1:1:1", "-1:1"}) {
    const auto plan = bench_plan(bad);
    ASSERT_FALSE(plan) << bad;
    EXPECT_EQ(plan.error().code, ExitCode::kUsage);
  }
}

TEST(BenchPlans, WhatLimitedIt) {
  BenchResult r;
  r.seconds = 1;
  r.sent = 990;
  r.plan.rate = 1000;
  judge(&r);
  EXPECT_EQ(r.limited_by, "rate");
  r.plan.rate = 0;
  r.receiver_busy = 0.95;
  judge(&r);
  EXPECT_EQ(r.limited_by, "receiver_cpu");
  r.receiver_busy = 0.2;
  r.sender_busy = 0.99;
  judge(&r);
  EXPECT_EQ(r.limited_by, "sender_cpu");
  r.sender_busy = 0.2;
  r.machine_busy = 0.97;
  judge(&r);
  EXPECT_EQ(r.limited_by, "machine_cpu");
  r.machine_busy = 0.5;
  judge(&r);
  EXPECT_EQ(r.limited_by, "node_backpressure");
  r.plan.request_reply = true;
  judge(&r);
  EXPECT_EQ(r.limited_by, "window");
}

struct Parsed {
  Arguments arguments;
  std::function<int()> run;
  bool ok = false;
};
std::unique_ptr<Parsed> parse(const std::string& line) {
  auto out = std::make_unique<Parsed>();
  const auto tree = make_command_tree(&out->arguments, &out->run);
  try {
    tree->parse(line);
    out->ok = true;
  } catch (const CLI::ParseError&) {
  }
  return out;
}

TEST(CommandLine, GlobalOptionsMayComeBeforeAndBehindTheVerb) {
  for (const char* line : {"--json --api tcp://127.0.0.1:5 links --after 3", "links --after 3 --json --api tcp://127.0.0.1:5"}) {
    const auto parsed = parse(line);
    ASSERT_TRUE(parsed->ok) << line;
    EXPECT_TRUE(parsed->arguments.context.json);
    EXPECT_EQ(parsed->arguments.context.api, "tcp://127.0.0.1:5");
    EXPECT_EQ(parsed->arguments.after, 3u);
    EXPECT_TRUE(parsed->run);
  }
}

TEST(CommandLine, DefaultsOfOneVerbAreNotAnothers) {
  const auto parsed = parse("pub o/n/s hello");
  ASSERT_TRUE(parsed->ok);
  EXPECT_EQ(parsed->arguments.size, 0u);
  EXPECT_EQ(parsed->arguments.count, 0u);
  EXPECT_EQ(parsed->arguments.payload, "hello");
}

TEST(CommandLine, WrongUseIsAnError) {
  for (const char* line : {"", "nonsense", "explain", "route add x", "route", "log-level loud", "capture x", "top --interval 0", "bench --size 15", "completion tcsh", "--timeout 0 status", "status extra"}) {
    EXPECT_FALSE(parse(line)->ok) << line;
  }
}

TEST(Preflight, LinesBecomeJson) {
  EXPECT_EQ(preflight_json("ok   io_uring       rings, and more\nBAD  huge_pages     none\n                    repair: echo 64 > x\n", false),
            "{\"checks\":[{\"found\":\"rings, and more\",\"name\":\"io_uring\",\"repair\":\"\",\"result\":\"ok\"},"
            "{\"found\":\"none\",\"name\":\"huge_pages\",\"repair\":\"echo 64 > x\",\"result\":\"bad\"}],\"good\":false}\n");
  EXPECT_EQ(preflight_json("", true), "{\"checks\":[],\"good\":true}\n");
}

TEST(Documents, EveryVerbIsInThemAllWithAnExample) {
  Arguments arguments;
  std::function<int()> run;
  const auto tree = make_command_tree(&arguments, &run);
  const auto man = manual_page(*tree);
  const std::vector<std::string> verbs = {"status", "ports", "links", "routes", "explain", "drops", "books", "workers", "memory", "trace", "capture", "top", "version", "stop", "reload",
                                          "log-level", "pub", "sub", "bench", "instances", "completion", "config", "close", "preflight", "doctor"};
  for (const auto& verb : verbs) {
    for (const char* shell : {"bash", "zsh", "fish"}) {
      EXPECT_THAT(completion_script(*tree, shell), HasSubstr(verb)) << shell;
    }
  }
  for (const auto* sub : tree->get_subcommands([](const CLI::App*) { return true; })) {
    EXPECT_THAT(sub->get_footer(), HasSubstr("Example: slipwayctl " + sub->get_name()));
  }
  EXPECT_THAT(man, HasSubstr(".SS route add\n"));
  for (const auto& code : kExitCodes) {
    EXPECT_THAT(man, HasSubstr("\\fB" + std::to_string(static_cast<int>(code.code)) + "\\fR"));
  }
  for (std::size_t i = 1; i < kExitCodes.size(); ++i) {
    EXPECT_LT(static_cast<int>(kExitCodes[i - 1].code), static_cast<int>(kExitCodes[i].code));  // each once, in order
  }
}

// Answers one connection with these bytes; closes it then.
class OneAnswer {
 public:
  explicit OneAnswer(std::string answer) : answer_(std::move(answer)) {
    fd_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(fd_, 1), 0);
    socklen_t bytes = sizeof address;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &bytes);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      const int got = accept(fd_, nullptr, nullptr);
      char buffer[4096];
      const auto length = read(got, buffer, sizeof buffer);
      request_.assign(buffer, static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
      EXPECT_EQ(write(got, answer_.data(), answer_.size()), static_cast<ssize_t>(answer_.size()));
      if (!answer_.empty()) {
        close(got);
      } else {
        silent_ = got;
      }
    });
  }
  ~OneAnswer() {
    join();
    close(fd_);
    if (silent_ >= 0) {
      close(silent_);
    }
  }
  void join() {
    if (thread_.joinable()) {
      thread_.join();
    }
  }
  [[nodiscard]] Context context() const { return {.api = "tcp://127.0.0.1:" + std::to_string(port_), .timeout_ms = 10'000}; }
  std::string request() {
    join();
    return request_;
  }

 private:
  std::string answer_;
  std::string request_;
  std::thread thread_;
  int fd_ = -1;
  int silent_ = -1;
  std::uint16_t port_ = 0;
};

TEST(HttpClient, AsksAndEncodes) {
  OneAnswer server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
  const auto answer = get(server.context(), "/v1/explain", {{"name", "o/n/a b&c"}, {"from", "3"}});
  ASSERT_TRUE(answer);
  EXPECT_EQ(*answer, "{}");
  EXPECT_THAT(server.request(), testing::StartsWith("GET /v1/explain?name=o/n/a%20b%26c&from=3 HTTP/1.1\r\n"));
}

TEST(HttpClient, PostsJson) {
  OneAnswer server("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(post(server.context(), "/v1/route/add", {{"name", "o/n/s"}, {"to", "up\"link"}}));
  EXPECT_THAT(server.request(), HasSubstr("{\"name\":\"o/n/s\",\"to\":\"up\\\"link\"}"));
}

TEST(HttpClient, StreamsChunks) {
  OneAnswer server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
  std::string got;
  ASSERT_TRUE(stream(server.context(), "/v1/trace", {}, [&](std::string_view bytes) {
    got += bytes;
    return true;
  }));
  EXPECT_EQ(got, "hello world");
}

TEST(HttpClient, EachFailureHasItsCode) {
  struct Case {
    const char* answer;
    ExitCode code;
    const char* says;
  };
  for (const auto& [answer, code, says] : {Case{"HTTP/1.1 404 Not Found\r\nContent-Length: 35\r\n\r\n{\"error\":\"no link 9\",\"try\":\"links\"}", ExitCode::kNotFound, "no link 9"},
                                           Case{"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", ExitCode::kUsage, "400"},
                                           Case{"HTTP/1.1 409 Conflict\r\nContent-Length: 18\r\n\r\n{\"error\":\"cannot\"}", ExitCode::kRefused, "cannot"},
                                           Case{"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", ExitCode::kRefused, "503"},
                                           Case{"SSH-2.0-OpenSSH\r\n", ExitCode::kFailed, "does not speak HTTP"},
                                           Case{"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", ExitCode::kNotReachable, "closed"}}) {
    OneAnswer server(answer);
    const auto result = get(server.context(), "/v1/status");
    ASSERT_FALSE(result) << answer;
    EXPECT_EQ(result.error().code, code) << answer << result.error().error;
    EXPECT_THAT(result.error().error, HasSubstr(says));
  }
  OneAnswer silent("");
  auto context = silent.context();
  context.timeout_ms = 50;
  const auto late = get(context, "/v1/status");
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ExitCode::kTimeout);
  const auto nobody = get({.api = "unix:///nonexistent/sock"}, "/v1/status");
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().code, ExitCode::kNotReachable);
  const auto wrong = get({.api = "udp://127.0.0.1:1"}, "/v1/status");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, ExitCode::kUsage);
}

}  // namespace
}  // namespace slipway::ctl

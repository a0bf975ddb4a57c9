// The control API against a node that is made up: which request gives which JSON.
#include "api/api.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "api/pcapng.h"
#include "frame/frame.h"

namespace slipway {
namespace {

using Json = nlohmann::json;

class FakeNode final : public ApiBackend {
 public:
  VersionRow version() override { return {.version = "1.2.3", .dpdk = "DPDK 22.11", .frame_version = 1}; }
  StatusRow status() override { return {.node_id = "n1", .state = "running", .uptime_ms = 1500, .links_up = 3, .warnings = {"a \"warning\"\xff"}}; }
  std::vector<PortRow> ports() override {
    PortRow row{.name = "p0", .device = "net_null0"};
    row.counters = {{"rx_packets", 5}};
    row.neighbors = {{"10.0.0.2", "00:11:22:33:44:55", true}};
    return {row};
  }
  std::vector<ListenerRow> listeners() override { return {{.address = "tcp://127.0.0.1:1", .accepted = 2}}; }
  LinksPage links(std::uint32_t after, std::uint32_t at_most) override {
    asked_after = after;
    asked_most = at_most;
    LinkRow row{.link = 7, .state = "up", .link_class = "edge"};
    row.drops[0] = 4;
    return {.links = {row}, .connect = {{.name = "up", .state = "waiting"}}, .recent = {{.link = 1, .reason = "gone"}}, .next = 7};
  }
  RoutesPage routes(std::uint32_t, std::uint32_t, std::optional<std::uint32_t> link, const std::optional<TextName>& prefix) override {
    asked_link = link;
    return {.routes = {{.name = prefix ? prefix->text() : "a/b/c", .edge = 1, .link = 7}}, .total = 1};
  }
  std::expected<ExplainRow, ApiFault> explain(const TextName& name, std::uint32_t from, std::uint32_t) override {
    if (from == 99) {
      return std::unexpected(ApiFault{404, "there is no link 99", "see links"});
    }
    return ExplainRow{.name = name.text(), .from = from, .total = 1, .matches = {{.link = 7, .candidate = true}}, .anycast = "link 7"};
  }
  std::vector<DropRow> drops() override { return {{.reason = 22, .count = 5, .workers = {{"w0", 5}}, .links = {{7, "peer", 5}}}}; }
  BooksPage books() override { return {.balanced = true, .workers = {{.worker = "w0", .frames_in = 3}}, .total = {.worker = "total"}}; }
  std::vector<WorkerRow> workers() override {
    WorkerRow row{.name = "w\"0", .kind = "socket", .busy_share = 0.25};
    for (std::size_t i = 0; i < kWorkerCounterTexts.size(); ++i) {
      row.counters.push_back(1000 + i);
    }
    for (std::size_t i = 0; i < kDropReasonCount; ++i) {
      row.drops[i] = 2000 + i;
    }
    return {row};
  }
  MemoryRow memory() override { return {.resident_bytes = 1, .pools = {{"pool", 10, 9, 8}}, .bytes_per_route = 1.0 / 0.0}; }
  ConfigRow config() override { return {"file", {"line"}, "text"}; }
  ControlCounters control_counters() override {
    ControlCounters out;
    std::uint64_t n = 3000;
    for (const auto& text : kControlCounterTexts) {
      out.*text.field = n++;
    }
    return out;
  }
  std::string unhealthy() override { return sick; }
  Channels* channels() override { return hosted; }
  void stop(std::optional<std::uint32_t> drain_ms) override { stopped = drain_ms.value_or(1); }
  ReloadRow reload() override { return reload_row; }
  std::expected<void, ApiFault> set_log_level(const std::string& level) override {
    if (level != "debug") {
      return std::unexpected(ApiFault{400, "no level", "debug"});
    }
    return {};
  }
  std::expected<void, ApiFault> route(bool add, const TextName& name, const std::string& to) override {
    changed = (add ? "add " : "del ") + name.text() + " " + to;
    return {};
  }
  std::expected<void, ApiFault> close_link(std::uint32_t link) override {
    closed = link;
    return {};
  }
  std::expected<std::shared_ptr<ResponseStream>, ApiFault> trace(const WatchRequest& request) override {
    watched = request;
    return std::make_shared<ResponseStream>();
  }
  std::expected<std::shared_ptr<ResponseStream>, ApiFault> capture(const WatchRequest&) override {
    return std::unexpected(ApiFault{409, "one is running already", "wait"});
  }

  std::uint32_t asked_after = 0, asked_most = 0, closed = 0;
  std::optional<std::uint32_t> asked_link;
  std::uint32_t stopped = 0;
  std::string sick, changed;
  Channels* hosted = nullptr;
  ReloadRow reload_row{.ok = true, .changed = {"x"}};
  WatchRequest watched;
};

class ApiTest : public testing::Test {
 protected:
  HttpResponse ask(std::string method, std::string path, std::map<std::string, std::string> query = {}, std::string body = "") {
    return api.handle({.method = std::move(method), .path = std::move(path), .query = std::move(query), .body = std::move(body)});
  }
  Json json(std::string method, std::string path, std::map<std::string, std::string> query = {}, std::string body = "", int status = 200) {
    const auto response = ask(std::move(method), path, std::move(query), std::move(body));
    EXPECT_EQ(response.status, status) << path << " " << response.body;
    return Json::parse(response.body);
  }
  FakeNode node;
  Api api{node};
};

std::set<std::string> keys(const Json& object) {
  std::set<std::string> out;
  for (const auto& [key, value] : object.items()) {
    out.insert(key);
  }
  return out;
}

// The names that scripts rely on. A name that goes away or changes fails here.
TEST_F(ApiTest, StableFieldNames) {
  EXPECT_EQ(keys(json("GET", "/v1/version")), (std::set<std::string>{"name", "version", "dpdk", "frame_version"}));
  EXPECT_EQ(keys(json("GET", "/v1/status")),
            (std::set<std::string>{"node_id", "version", "state", "config", "log_level", "pid", "uptime_ms", "ready_ms", "workers", "ports", "links",
                                   "routes", "frames_in", "injected", "punted", "forwarded", "sent", "dropped", "held", "budget", "huge_pages", "warnings"}));
  EXPECT_EQ(keys(json("GET", "/v1/links")["links"][0]),
            (std::set<std::string>{"link", "id", "state", "class", "transport", "peer", "node_id", "version", "worker", "port", "name", "dialed",
                                   "stalled", "age_ms", "idle_ms", "round_trip_us", "subscriptions", "max_frame_bytes", "datagram_bytes",
                                   "frames_in", "bytes_in", "frames_sent", "bytes_sent", "queued_frames", "queued_bytes", "pauses", "drops",
                                   "edge", "last_error"}));
  EXPECT_EQ(keys(json("GET", "/v1/links")), (std::set<std::string>{"links", "connect", "recent", "next"}));
  EXPECT_EQ(keys(json("GET", "/v1/ports")), (std::set<std::string>{"ports", "listeners"}));
  EXPECT_EQ(json("GET", "/v1/ports")["ports"][0]["neighbors"][0]["mac"], "00:11:22:33:44:55");
  EXPECT_EQ(keys(json("GET", "/v1/routes")["routes"][0]), (std::set<std::string>{"name", "local", "edge", "peer", "remote", "link"}));
  EXPECT_EQ(keys(json("GET", "/v1/explain", {{"name", "a/b/c"}})),
            (std::set<std::string>{"name", "from", "total", "matches", "anycast", "multicast", "drop"}));
  EXPECT_TRUE(json("GET", "/v1/explain", {{"name", "a/b/c"}})["drop"].is_null());
  EXPECT_EQ(keys(json("GET", "/v1/drops")["drops"][0]), (std::set<std::string>{"reason", "count", "what", "advice", "workers", "links"}));
  EXPECT_EQ(json("GET", "/v1/drops")["total"], 5);
  EXPECT_EQ(keys(json("GET", "/v1/books")), (std::set<std::string>{"balanced", "total", "workers"}));
  EXPECT_EQ(keys(json("GET", "/v1/books")["total"]), (std::set<std::string>{"worker", "frames", "copies"}));
  EXPECT_EQ(keys(json("GET", "/v1/memory")), (std::set<std::string>{"resident_bytes", "accounted_bytes", "workers", "dpdk", "pools", "budget", "routing"}));
  EXPECT_EQ(json("GET", "/v1/memory")["routing"]["bytes_per_route"], 0.0);
  EXPECT_EQ(keys(json("GET", "/v1/config")), (std::set<std::string>{"source", "running", "text"}));
}

// Channels that do as they are told, later.
class FakeChannels final : public Channels {
 public:
  void create(const TextName& channel, const ChannelOptions& options, const ChannelAsker& asker, Done done) override {
    take("create " + channel.text() + (options.mls ? " mls" : " plain") + " for " + asker.who, std::move(done));
  }
  void remove(const TextName& channel, const ChannelAsker&, Done done) override { take("delete " + channel.text(), std::move(done)); }
  void invite(const TextName& channel, const TextName& who, const ChannelAsker&, Done done) override {
    take("invite " + channel.text() + " " + who.text(), std::move(done));
  }
  void remove_participant(const TextName& channel, const TextName& who, const ChannelAsker&, Done done) override {
    take("remove " + channel.text() + " " + who.text(), std::move(done));
  }
  [[nodiscard]] std::vector<ChannelRow> list() const override { return {row()}; }
  [[nodiscard]] std::expected<ChannelRow, ChannelError> show(const TextName& channel) const override {
    if (channel.component[2] != "room") {
      return std::unexpected(ChannelError{ChannelFault::kUnknown, channel.text()});
    }
    ChannelRow out = row();
    out.members = {{parse_name("a/b/me/0x1").value(), true, true}};
    return out;
  }
  [[nodiscard]] bool file_managed() const override { return true; }
  [[nodiscard]] TextName local_name() const override { return parse_name("a/b/me/0x1").value(); }
  [[nodiscard]] const ChannelCounters& counters() const override { return counts; }
  void on_event(std::function<void(const ChannelEvent&)>) override {}

  std::string asked;
  Done waiting;
  ChannelCounters counts;

 private:
  static ChannelRow row() { return {.name = parse_name("a/b/room").value(), .state = "open", .created_by = "me"}; }
  void take(std::string what, Done done) {
    asked = std::move(what);
    waiting = std::move(done);
  }
};

TEST_F(ApiTest, ChannelsAreShownAndChangedAndTheAnswerComesWhenItIsThrough) {
  EXPECT_EQ(json("GET", "/v1/channels", {}, "", 404)["fault"], "off");
  FakeChannels hosted;
  node.hosted = &hosted;
  const auto all = json("GET", "/v1/channels");
  EXPECT_EQ(keys(all), (std::set<std::string>{"channels", "local_name", "file_managed", "counters"}));
  EXPECT_EQ(keys(all["channels"][0]), (std::set<std::string>{"name", "state", "mls", "node_could_read", "epoch", "session", "members_count", "waiting",
                                                             "created_by", "created", "from_file", "restored"}));
  EXPECT_EQ(keys(json("GET", "/v1/channels/show", {{"name", "a/b/room"}})["members"][0]), (std::set<std::string>{"name", "online", "moderator"}));
  EXPECT_EQ(json("GET", "/v1/channels/show", {{"name", "a/b/none"}}, "", 404)["fault"], "unknown");
  EXPECT_EQ(json("POST", "/v1/channels/create", {}, R"({"name": "a/b/c/0x1"})", 400)["fault"], "bad_name");
  EXPECT_EQ(json("POST", "/v1/channels/invite", {}, R"({"name": "a/b/c"})", 400).contains("error"), true);

  const std::vector<std::pair<std::string, std::string>> calls = {{R"(create {"name": "a/b/c", "mls": false})", "create a/b/c plain for the control API"},
                                                                  {R"(create {"name": "a/b/c"})", "create a/b/c mls for the control API"},
                                                                  {R"(delete {"name": "a/b/c"})", "delete a/b/c"},
                                                                  {R"(invite {"name": "a/b/c", "participant": "d/e/f"})", "invite a/b/c d/e/f"},
                                                                  {R"(remove {"name": "a/b/c", "participant": "d/e/f"})", "remove a/b/c d/e/f"}};
  for (const auto& [call, asked] : calls) {
    const auto space = call.find(' ');
    const auto response = ask("POST", "/v1/channels/" + call.substr(0, space), {}, call.substr(space + 1));
    EXPECT_TRUE(response.later) << call;
    EXPECT_EQ(hosted.asked, asked);
    hosted.waiting({});
  }
}

TEST_F(ApiTest, EveryCounterIsOnEverySurface) {
  const auto workers = json("GET", "/v1/workers");
  const auto metrics = ask("GET", "/metrics").body;
  EXPECT_TRUE(metrics.ends_with("# EOF\n"));
  for (const auto* name : {"slim_num_active_connections ", "slim_num_messages_by_type_total{method=\"publish\"} ", "slim_num_processed_messages_total ",
                           "slim_num_message_process_errors_total "}) {  // which upstream's dashboards ask for
    EXPECT_NE(metrics.find(name), std::string::npos) << name;
  }
  for (std::size_t i = 0; i < kWorkerCounterTexts.size(); ++i) {
    const std::string name(kWorkerCounterTexts[i].name);
    EXPECT_EQ(workers["workers"][0]["counters"][name], 1000 + i) << name;
    EXPECT_NE(metrics.find("slipway_worker_" + name), std::string::npos) << name;
    EXPECT_NE(metrics.find("{worker=\"w\\\"0\"} " + std::to_string(1000 + i) + "\n"), std::string::npos) << name;
  }
  for (std::size_t i = 0; i < kDropReasonCount; ++i) {
    const std::string name(kDropReasonTexts[i].name);
    EXPECT_EQ(workers["workers"][0]["drops"][name], 2000 + i) << name;
    EXPECT_NE(metrics.find("reason=\"" + name + "\"} " + std::to_string(2000 + i)), std::string::npos) << name;
  }
  std::uint64_t n = 3000;
  for (const auto& text : kControlCounterTexts) {
    EXPECT_EQ(workers["control"][std::string(text.name)], n) << text.name;
    EXPECT_NE(metrics.find("slipway_control_" + std::string(text.name) + "_total " + std::to_string(n) + "\n"), std::string::npos) << text.name;
    ++n;
  }
  // Each line is a comment or "name{labels} number".
  std::istringstream lines(metrics);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_TRUE(line.starts_with("# ") || line.find(' ') != std::string::npos) << line;
  }
}

TEST_F(ApiTest, FaultsSayWhatToTry) {
  struct Case {
    std::string method, path;
    std::map<std::string, std::string> query;
    std::string body;
    int status;
    std::string expected;
  };
  for (const auto& c : std::vector<Case>{{"GET", "/v2/x", {}, "", 404, "there is no /v2/x"},
                                         {"POST", "/v1/status", {}, "", 405, "does not take POST"},
                                         {"GET", "/v1/status", {{"x", "1"}}, "", 400, "unknown parameter `x`"},
                                         {"GET", "/v1/links", {{"after", "soon"}}, "", 400, "`after` is `soon`"},
                                         {"GET", "/v1/links", {{"after", "99999999"}}, "", 400, "99999999"},
                                         {"GET", "/v1/explain", {}, "", 400, "`name`"},
                                         {"GET", "/v1/explain", {{"name", "a/b"}}, "", 400, "`name`"},
                                         {"GET", "/v1/explain", {{"name", "a/b/c"}, {"from", "99"}}, "", 404, "no link 99"},
                                         {"POST", "/v1/route/add", {}, "[1]", 400, "no JSON object"},
                                         {"POST", "/v1/route/add", {}, "{", 400, "no JSON object"},
                                         {"POST", "/v1/route/add", {}, R"({"name":{}})", 400, "must be a text"},
                                         {"POST", "/v1/route/add", {}, R"({"name":"a/b/c"})", 400, "`to` is missing"},
                                         {"POST", "/v1/log-level", {}, R"({"level":"loud"})", 400, "no level"},
                                         {"POST", "/v1/trace", {}, R"({"count":0})", 400, "`count` is 0"},
                                         {"POST", "/v1/trace", {}, R"({"drops_only":"maybe"})", 400, "drops_only"},
                                         {"POST", "/v1/capture", {}, "{}", 409, "running already"}}) {
    const auto answer = json(c.method, c.path, c.query, c.body, c.status);
    EXPECT_NE(answer["error"].get<std::string>().find(c.expected), std::string::npos) << answer;
    EXPECT_FALSE(answer["try"].get<std::string>().empty());
  }
}

TEST_F(ApiTest, Actions) {
  json("POST", "/v1/route/add", {}, R"({"name":"a/b/c","to":"up"})");
  EXPECT_EQ(node.changed, "add a/b/c up");
  json("POST", "/v1/route/del", {{"name", "a/b/c"}, {"to", "7"}});
  EXPECT_EQ(node.changed, "del a/b/c 7");
  json("POST", "/v1/links/close", {}, R"({"link":12})");
  EXPECT_EQ(node.closed, 12u);
  json("POST", "/v1/stop", {}, R"({"drain_ms":250})", 202);
  EXPECT_EQ(node.stopped, 250u);
  EXPECT_EQ(json("POST", "/v1/reload")["changed"][0], "x");
  node.reload_row = {.ok = false, .error = "f.yaml:3: bad"};
  EXPECT_EQ(json("POST", "/v1/reload", {}, "", 409)["error"], "f.yaml:3: bad");
  EXPECT_EQ(json("GET", "/healthz")["healthy"], true);
  node.sick = "worker w0 is stuck";
  EXPECT_EQ(json("GET", "/healthz", {}, "", 503)["error"], "worker w0 is stuck");
  json("GET", "/v1/links", {{"after", "5"}, {"limit", "2"}});
  EXPECT_EQ(node.asked_after, 5u);
  EXPECT_EQ(node.asked_most, 2u);
  json("GET", "/v1/routes", {{"link", "3"}});
  EXPECT_EQ(node.asked_link, 3u);
}

TEST_F(ApiTest, TraceIsAStream) {
  const auto response = ask("POST", "/v1/trace", {}, R"({"count":3,"name":"a/b/c","drops_only":true,"seconds":5})");
  ASSERT_TRUE(response.stream);
  EXPECT_EQ(node.watched.filter.count, 3u);
  EXPECT_TRUE(node.watched.filter.match_name);
  EXPECT_TRUE(node.watched.filter.drops_only);
  EXPECT_EQ(node.watched.limit_ms, 5'000u);
  EXPECT_EQ(node.watched.filter.destination, hash_name("a", "b", "c"));
}

TEST(TraceLine, SaysTheVerdict) {
  Traced traced{.time_ns = 1, .from = 3, .frame_bytes = 200, .candidates = {0, 0, 1, 2}, .chosen = 7, .copies = 1, .punted = false, .drop_reason = 0xFF};
  std::array<std::byte, kFrameHeaderBytes> header{};
  store_header(header.data(), FrameHeader{.hop_limit = 6});
  auto line = Json::parse(trace_line(traced, header, "a/b/c"));
  EXPECT_EQ(line["verdict"], "sent to link 7");
  EXPECT_EQ(line["candidates"]["edge"], 2);
  EXPECT_EQ(line["destination"], "a/b/c");
  EXPECT_EQ(line["hop_limit"], 6);
  traced.drop_reason = static_cast<std::uint8_t>(DropReason::kNoRoute);
  EXPECT_EQ(Json::parse(trace_line(traced, {}, ""))["dropped"], "no_route");
}

TEST(Pcapng, BlocksAreWhole) {
  std::array<std::byte, 150> bytes{};
  const auto file = pcapng_begin("slipwayd test") + pcapng_packet({.time_ns = 5'000'000'000, .link = 3, .frame_bytes = 300, .comment = "x"}, bytes);
  std::size_t at = 0;
  std::vector<std::uint32_t> types;
  while (at < file.size()) {
    ASSERT_GE(file.size() - at, 12u);
    const auto length = load_le<std::uint32_t>(file.data() + at + 4);
    ASSERT_EQ(length % 4, 0u);
    ASSERT_LE(at + length, file.size());
    EXPECT_EQ(load_le<std::uint32_t>(file.data() + at + length - 4), length);
    types.push_back(load_le<std::uint32_t>(file.data() + at));
    at += length;
  }
  EXPECT_EQ(types, (std::vector<std::uint32_t>{0x0A0D0D0A, 1, 6}));
}

// --- requests out of bytes ---------------------------------------------------------------------------------------------

TEST(HttpRequest, SplitAtEveryByte) {
  const std::string text = "POST /v1/route/add?a=%41+b&c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{ }";
  for (std::size_t split = 0; split <= text.size(); ++split) {
    HttpRequestParser parser;
    std::size_t used = 0;
    auto state = HttpRequestParser::State::kMore;
    if (split != 0) {
      state = parser.feed({text.data(), split}, used);
      ASSERT_EQ(used, split);
    }
    if (split != text.size()) {
      ASSERT_EQ(state, HttpRequestParser::State::kMore) << split;
      state = parser.feed({text.data() + split, text.size() - split}, used);
    }
    ASSERT_EQ(state, HttpRequestParser::State::kComplete) << split;
    const auto request = parser.take();
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.path, "/v1/route/add");
    EXPECT_EQ(request.query.at("a"), "A b");
    EXPECT_EQ(request.query.at("c"), "");
    EXPECT_EQ(request.body, "{ }");
    EXPECT_TRUE(request.keep_alive);
  }
}

TEST(HttpRequest, TwoInOneRead) {
  const std::string text = "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nConnection: close\r\n\r\n";
  HttpRequestParser parser;
  std::size_t used = 0;
  ASSERT_EQ(parser.feed(text, used), HttpRequestParser::State::kComplete);
  EXPECT_EQ(parser.take().path, "/a");
  std::size_t rest = 0;
  ASSERT_EQ(parser.feed(std::span(text).subspan(used), rest), HttpRequestParser::State::kComplete);
  const auto second = parser.take();
  EXPECT_EQ(second.path, "/b");
  EXPECT_FALSE(second.keep_alive);
}

TEST(HttpRequest, FaultsHaveAStatus) {
  const auto status = [](const std::string& text) {
    HttpRequestParser parser;
    std::size_t used = 0;
    return parser.feed(text, used) == HttpRequestParser::State::kFault ? parser.fault_status() : 0;
  };
  EXPECT_EQ(status("rubbish\r\n\r\n"), 400);
  EXPECT_EQ(status("GET /%zz HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(status("GET /" + std::string(10'000, 'a') + " HTTP/1.1\r\n\r\n"), 414);
  EXPECT_EQ(status("GET / HTTP/1.1\r\nA: " + std::string(20'000, 'a') + "\r\n\r\n"), 431);
  EXPECT_EQ(status("POST / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n"), 413);
  EXPECT_EQ(status("GET / HTTP/1.1\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), 501);
}

}  // namespace
}  // namespace slipway

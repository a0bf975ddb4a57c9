// slipwayctl top: rates between two looks at the node, again and again.

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "api_client.h"
#include "table.h"
#include "verbs.h"

namespace slipway::ctl {
namespace {

using Json = nlohmann::json;
constexpr std::size_t kLinksShown = 20;

struct Look {
  std::chrono::steady_clock::time_point time;
  Json status;
  Json workers;
  Json links;
};

std::expected<Look, Failure> look(const Context& context) {
  Look out;
  out.time = std::chrono::steady_clock::now();
  const auto ask = [&](const char* path, Json* into) -> std::expected<void, Failure> {
    const auto answer = get(context, path);
    if (!answer) {
      return std::unexpected(answer.error());
    }
    *into = Json::parse(*answer, nullptr, false);
    if (!into->is_object()) {
      return std::unexpected(Failure{ExitCode::kFailed, "the node's answer is no JSON object", "is it another version? see slipwayctl version"});
    }
    return {};
  };
  for (const auto& [path, into] : {std::pair{"/v1/status", &out.status}, std::pair{"/v1/workers", &out.workers}, std::pair{"/v1/links", &out.links}}) {
    if (auto asked = ask(path, into); !asked) {
      return std::unexpected(asked.error());
    }
  }
  return out;
}

double rate(const Json& now, const Json& before, const char* key, double seconds) {
  const double a = now.value(key, 0.0);
  const double b = before.value(key, 0.0);
  return a >= b && seconds > 0 ? (a - b) / seconds : 0;
}

// Rows of a list by a key, so that two looks can be compared.
std::map<std::string, Json> by_key(const Json& list, const char* key) {
  std::map<std::string, Json> out;
  for (const auto& row : list) {
    out[row.value(key, Json()).dump()] = row;
  }
  return out;
}

Json list_of(const Json& json, const char* key) { return json.contains(key) && json[key].is_array() ? json[key] : Json::array(); }

Json rates_of(const Look& now, const Look& before) {
  const double seconds = std::chrono::duration<double>(now.time - before.time).count();
  Json out = {{"seconds", seconds},
              {"frames_in", rate(now.status, before.status, "frames_in", seconds)},
              {"forwarded", rate(now.status, before.status, "forwarded", seconds)},
              {"sent", rate(now.status, before.status, "sent", seconds)},
              {"dropped", rate(now.status, before.status, "dropped", seconds)},
              {"held", now.status.value("held", 0.0)},
              {"routes", now.status.value("routes", 0.0)},
              {"workers", Json::array()},
              {"links", Json::array()}};
  const auto old_workers = by_key(list_of(before.workers, "workers"), "id");
  for (const auto& w : list_of(now.workers, "workers")) {
    const auto old = old_workers.find(w.value("id", Json()).dump());
    const Json a = w.value("counters", Json::object());
    const Json b = old == old_workers.end() ? a : old->second.value("counters", Json::object());
    const double busy = rate(a, b, "busy_cycles", seconds);
    const double all = busy + rate(a, b, "idle_cycles", seconds) + rate(a, b, "sleep_cycles", seconds);
    const double frames = rate(a, b, "frames_in", seconds);
    out["workers"].push_back({{"name", w.value("name", "")}, {"busy", all > 0 ? busy / all : 0}, {"frames_in", frames}, {"sent", rate(a, b, "sent", seconds)},
                              {"cycles_per_frame", frames > 0 ? busy / frames : 0}, {"syscalls", rate(a, b, "syscalls", seconds)}, {"held", a.value("held", 0.0)}});
  }
  const auto old_links = by_key(list_of(before.links, "links"), "id");
  for (const auto& l : list_of(now.links, "links")) {
    const auto old = old_links.find(l.value("id", Json()).dump());
    const Json& b = old == old_links.end() ? l : old->second;
    out["links"].push_back({{"link", l.value("link", 0)}, {"peer", l.value("peer", "")}, {"node_id", l.value("node_id", "")}, {"stalled", l.value("stalled", false)},
                            {"frames_in", rate(l, b, "frames_in", seconds)}, {"frames_sent", rate(l, b, "frames_sent", seconds)},
                            {"bytes_in", rate(l, b, "bytes_in", seconds)}, {"bytes_sent", rate(l, b, "bytes_sent", seconds)}, {"queued_bytes", l.value("queued_bytes", 0.0)}});
  }
  return out;
}

std::string screen_of(const Look& now, const Json& rates) {
  std::string out = fmt::format("{}  {}  up {}  links {}  subscriptions {}\n", safe_text(now.status.value("node_id", "")), safe_text(now.status.value("state", "")),
                                duration_text(now.status.value("uptime_ms", std::uint64_t{0})), now.status.contains("links") ? now.status["links"].value("up", 0) : 0,
                                count_text(now.status.value("routes", std::uint64_t{0})));
  out += fmt::format("in {}  forwarded {}  sent {}  dropped {}  held {}\n\n", rate_text(rates["frames_in"]), rate_text(rates["forwarded"]), rate_text(rates["sent"]),
                     rate_text(rates["dropped"]), count_text(static_cast<std::uint64_t>(rates["held"].get<double>())));
  Table workers({{"WORKER"}, {"BUSY", Align::kRight}, {"IN", Align::kRight}, {"SENT", Align::kRight}, {"CYCLES/FRAME", Align::kRight}, {"SYSCALLS", Align::kRight}, {"HELD", Align::kRight}});
  for (const auto& w : rates["workers"]) {
    workers.add({w["name"], percent_text(w["busy"]), rate_text(w["frames_in"]), rate_text(w["sent"]), fmt::format("{:.0f}", w["cycles_per_frame"].get<double>()), rate_text(w["syscalls"]),
                 count_text(static_cast<std::uint64_t>(w["held"].get<double>()))});
  }
  out += workers.text() + "\n";
  std::vector<Json> links(rates["links"].begin(), rates["links"].end());
  std::stable_sort(links.begin(), links.end(), [](const Json& a, const Json& b) {
    return a["frames_in"].get<double>() + a["frames_sent"].get<double>() > b["frames_in"].get<double>() + b["frames_sent"].get<double>();
  });
  Table table({{"LINK", Align::kRight}, {"PEER"}, {"WHO"}, {"IN", Align::kRight}, {"OUT", Align::kRight}, {"BYTES IN", Align::kRight}, {"BYTES OUT", Align::kRight}, {"QUEUED", Align::kRight}, {""}});
  for (std::size_t i = 0; i < std::min(links.size(), kLinksShown); ++i) {
    const auto& l = links[i];
    const auto bytes = [&](const char* key) { return bytes_text(static_cast<std::uint64_t>(l[key].get<double>())); };
    table.add({l["link"].dump(), l["peer"], l["node_id"], rate_text(l["frames_in"]), rate_text(l["frames_sent"]), bytes("bytes_in") + "/s", bytes("bytes_sent") + "/s", bytes("queued_bytes"),
               l["stalled"].get<bool>() ? "stalled" : " "});
  }
  out += table.text();
  if (links.size() > kLinksShown) {
    out += fmt::format("({} more links)\n", links.size() - kLinksShown);
  }
  return out;
}

}  // namespace

int verb_top(const Arguments& a) {
  auto before = look(a.context);
  if (!before) {
    return fail(a.context, before.error());
  }
  const bool live = isatty(STDOUT_FILENO) != 0 && !a.context.json;
  for (std::uint32_t shown = 0; a.count == 0 || shown < a.count; ++shown) {
    poll(nullptr, 0, static_cast<int>(a.interval * 1000));
    if (interrupted()) {
      break;
    }
    auto now = look(a.context);
    if (!now) {
      return fail(a.context, now.error());
    }
    const Json rates = rates_of(*now, *before);
    if (a.context.json) {
      std::printf("%s\n", rates.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
    } else {
      std::printf("%s%s%s", live ? "\x1b[H\x1b[J" : "", screen_of(*now, rates).c_str(), live ? "" : "\n");
    }
    std::fflush(stdout);
    before = std::move(now);
  }
  return 0;
}

}  // namespace slipway::ctl

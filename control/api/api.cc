#include "api/api.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <nlohmann/json.hpp>
#include <string_view>

#include "api/json.h"
#include "control_bounds.h"
#include "frame/frame.h"

namespace slipway {

namespace {

HttpResponse answer(const Json& value, int status = 200) {
  return {.status = status, .body = value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"};
}

HttpResponse fault(const ApiFault& f) { return answer({{"error", f.error}, {"try", f.remedy}}, f.status); }

HttpResponse done(const std::expected<void, ApiFault>& result) { return result ? answer({{"ok", true}}) : fault(result.error()); }

std::expected<std::uint64_t, ApiFault> read_number(const std::string& text, std::string_view what, std::uint64_t max) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > max) {
    return std::unexpected(ApiFault{400, fmt::format("`{}` is `{}`", what, text), fmt::format("give a number from 0 to {}", max)});
  }
  return value;
}

// Parameters of a request: the query, and of a POST the JSON object in its body. Unknown ones are errors.
class Parameters {
 public:
  static std::expected<Parameters, ApiFault> of(const HttpRequest& request, const std::vector<std::string_view>& known) {
    Parameters out;
    for (const auto& [key, value] : request.query) {
      out.values_[key] = value;
    }
    if (!request.body.empty()) {
      const auto json = Json::parse(request.body, nullptr, false);
      if (!json.is_object()) {
        return std::unexpected(ApiFault{400, "the body is no JSON object", "send {\"key\": value, ...}"});
      }
      for (const auto& [key, value] : json.items()) {
        if (value.is_object() || value.is_array() || value.is_null()) {
          return std::unexpected(ApiFault{400, fmt::format("`{}` must be a text, a number or true or false", key), "see control/api/README.md"});
        }
        out.values_[key] = value.is_string() ? value.get<std::string>() : value.dump();
      }
    }
    for (const auto& [key, value] : out.values_) {
      if (std::ranges::find(known, key) == known.end()) {
        return std::unexpected(ApiFault{400, fmt::format("unknown parameter `{}`", key),
                                        known.empty() ? std::string("this request has none") : fmt::format("known are: {}", fmt::join(known, ", "))});
      }
    }
    return out;
  }
  [[nodiscard]] bool has(const std::string& key) const { return values_.contains(key); }
  [[nodiscard]] std::string text(const std::string& key) const {
    const auto at = values_.find(key);
    return at == values_.end() ? "" : at->second;
  }
  std::expected<std::uint64_t, ApiFault> number(const std::string& key, std::uint64_t fallback, std::uint64_t max) const {
    return has(key) ? read_number(text(key), key, max) : std::expected<std::uint64_t, ApiFault>(fallback);
  }
  std::expected<bool, ApiFault> boolean(const std::string& key) const {
    const auto value = text(key);
    if (value.empty() || value == "false" || value == "0") {
      return false;
    }
    if (value == "true" || value == "1") {
      return true;
    }
    return std::unexpected(ApiFault{400, fmt::format("`{}` is `{}`", key, value), "give true or false"});
  }
  std::expected<TextName, ApiFault> name(const std::string& key) const {
    auto parsed = parse_name(text(key));
    if (!parsed) {
      return std::unexpected(ApiFault{400, fmt::format("`{}`: {}", key, parsed.error()), "write org/namespace/service or org/namespace/service/ID"});
    }
    return *parsed;
  }

 private:
  std::map<std::string, std::string> values_;
};

std::expected<WatchRequest, ApiFault> watch_of(const Parameters& p) {
  WatchRequest out;
  const auto count = p.number("count", 10, kMaxTraceFrames);
  const auto link = p.number("link", 0, kMaxLinks - 1);
  const auto kind = p.number("kind", 0, 5);
  const auto snap = p.number("snap_bytes", 256, kMaxSnapBytes);
  const auto limit_bytes = p.number("limit_bytes", out.limit_bytes, std::uint64_t{1} << 32);
  const auto seconds = p.number("seconds", 60, 86'400);
  const auto drops_only = p.boolean("drops_only");
  for (const auto* number : {&count, &link, &kind, &snap, &limit_bytes, &seconds}) {
    if (!*number) {
      return std::unexpected(number->error());
    }
  }
  if (!drops_only) {
    return std::unexpected(drops_only.error());
  }
  if (*count == 0) {
    return std::unexpected(ApiFault{400, "`count` is 0", fmt::format("give a number from 1 to {}", kMaxTraceFrames)});
  }
  out.filter.count = static_cast<std::uint32_t>(*count);
  out.filter.link = static_cast<LinkIndex>(*link);
  out.filter.kind = static_cast<std::uint8_t>(*kind);
  out.filter.snap_bytes = static_cast<std::uint32_t>(*snap);
  out.filter.drops_only = *drops_only;
  out.limit_bytes = *limit_bytes;
  out.limit_ms = *seconds * 1000;
  if (p.has("name")) {
    const auto name = p.name("name");
    if (!name) {
      return std::unexpected(name.error());
    }
    out.filter.match_name = true;
    out.filter.destination = name->hashed();
  }
  return out;
}

HttpResponse links(ApiBackend& backend, const Parameters& p) {
  const auto after = p.number("after", 0, kMaxLinks);
  const auto most = p.number("limit", kMaxListed, kMaxListed);
  if (!after || !most) {
    return fault(after ? most.error() : after.error());
  }
  return answer(to_json_value(backend.links(static_cast<std::uint32_t>(*after), static_cast<std::uint32_t>(*most))));
}

HttpResponse routes(ApiBackend& backend, const Parameters& p) {
  const auto after = p.number("after", 0, ~std::uint32_t{0});
  const auto most = p.number("limit", 1000, kMaxListed);
  const auto link = p.number("link", 0, kMaxLinks - 1);
  for (const auto* number : {&after, &most, &link}) {
    if (!*number) {
      return fault(number->error());
    }
  }
  std::optional<TextName> prefix;
  if (p.has("name")) {
    auto name = p.name("name");
    if (!name) {
      return fault(name.error());
    }
    prefix = *name;
  }
  return answer(to_json_value(backend.routes(static_cast<std::uint32_t>(*after), static_cast<std::uint32_t>(*most),
                                             p.has("link") ? std::optional(static_cast<std::uint32_t>(*link)) : std::nullopt, prefix)));
}

HttpResponse explain(ApiBackend& backend, const Parameters& p) {
  const auto name = p.name("name");
  const auto from = p.number("from", 0, kMaxLinks - 1);
  const auto hops = p.number("hop_limit", kDefaultHopLimit, 255);
  if (!name || !from || !hops) {
    return fault(!name ? name.error() : !from ? from.error() : hops.error());
  }
  const auto row = backend.explain(*name, static_cast<std::uint32_t>(*from), static_cast<std::uint32_t>(*hops));
  return row ? answer(to_json_value(*row)) : fault(row.error());
}

template <class T>
Json rows_json(const std::vector<T>& rows) {
  Json out = Json::array();
  for (const auto& row : rows) {
    out.push_back(to_json_value(row));
  }
  return out;
}

HttpResponse drops(ApiBackend& backend, const Parameters&) {
  const auto rows = backend.drops();
  std::uint64_t total = 0;
  for (const auto& row : rows) {
    total += row.count;
  }
  return answer({{"drops", rows_json(rows)}, {"total", total}});
}

HttpResponse workers(ApiBackend& backend, const Parameters&) {
  const auto counters = backend.control_counters();
  Json control = Json::object();
  for (const auto& text : kControlCounterTexts) {
    control[std::string(text.name)] = counters.*text.field;
  }
  return answer({{"workers", rows_json(backend.workers())}, {"control", control}});
}

HttpResponse stop(ApiBackend& backend, const Parameters& p) {
  const auto drain = p.number("drain_ms", 0, 600'000);
  if (!drain) {
    return fault(drain.error());
  }
  backend.stop(p.has("drain_ms") ? std::optional(static_cast<std::uint32_t>(*drain)) : std::nullopt);
  return answer({{"ok", true}}, 202);
}

HttpResponse reload(ApiBackend& backend, const Parameters&) {
  const auto row = backend.reload();
  return row.ok ? answer(to_json_value(row)) : fault({409, row.error, "correct the file and reload again; the node goes on as it was"});
}

HttpResponse change_route(ApiBackend& backend, const Parameters& p, bool add) {
  const auto name = p.name("name");
  if (!name) {
    return fault(name.error());
  }
  if (p.text("to").empty()) {
    return fault({400, "`to` is missing", "give the name of a `connect` entry or the number of a link"});
  }
  return done(backend.route(add, *name, p.text("to")));
}

HttpResponse close_link(ApiBackend& backend, const Parameters& p) {
  const auto link = p.number("link", 0, kMaxLinks - 1);
  return !link ? fault(link.error()) : done(backend.close_link(static_cast<std::uint32_t>(*link)));
}

HttpResponse watch(ApiBackend& backend, const Parameters& p, bool capture) {
  const auto request = watch_of(p);
  if (!request) {
    return fault(request.error());
  }
  auto stream = capture ? backend.capture(*request) : backend.trace(*request);
  if (!stream) {
    return fault(stream.error());
  }
  return {.type = capture ? "application/x-pcapng" : "application/jsonl", .body = {}, .stream = *stream};
}

// --- channels ----------------------------------------------------------------------------------------------------------

ApiFault fault_of(const ChannelError& error) {
  const auto status = [&] {
    switch (error.fault) {
      case ChannelFault::kOff:
      case ChannelFault::kUnknown: return 404;
      case ChannelFault::kBadName: return 400;
      case ChannelFault::kStore:
      case ChannelFault::kStopping: return 503;
      case ChannelFault::kSession: return error.session == SessionFault::kNotFound || error.session == SessionFault::kNotMember ? 404 : 409;
      default: return 409;
    }
  }();
  const std::string about = error.about.empty() ? std::string(channel_fault_name(error.fault)) : error.about;
  return {status, about, std::string(channel_fault_remedy(error.fault))};
}

HttpResponse channel_fault(const ChannelError& error) {
  const ApiFault f = fault_of(error);
  Json body{{"error", f.error}, {"try", error.fault == ChannelFault::kSession ? "" : f.remedy}, {"fault", std::string(channel_fault_name(error.fault))}};
  return answer(body, f.status);
}

// The node's channels, or the answer that there are none.
Channels* channels_of(ApiBackend& backend, HttpResponse& none) {
  Channels* const channels = backend.channels();
  if (channels == nullptr) {
    none = channel_fault({ChannelFault::kOff, "this node hosts no channels"});
  }
  return channels;
}

HttpResponse list_channels(ApiBackend& backend, const Parameters&) {
  HttpResponse none;
  Channels* const channels = channels_of(backend, none);
  if (channels == nullptr) {
    return none;
  }
  return answer({{"channels", rows_json(channels->list())},
                 {"local_name", channels->local_name().text()},
                 {"file_managed", channels->file_managed()},
                 {"counters", to_json_value(channels->counters())}});
}

HttpResponse show_channel(ApiBackend& backend, const Parameters& p) {
  HttpResponse none;
  Channels* const channels = channels_of(backend, none);
  const auto name = p.name("name");
  if (channels == nullptr || !name) {
    return channels == nullptr ? none : fault(name.error());
  }
  const auto row = channels->show(*name);
  return row ? answer(to_json_value(*row)) : channel_fault(row.error());
}

// The answer when it is through.
template <class Call>
HttpResponse change_channels(ApiBackend& backend, const Parameters& p, bool participant, Call&& call) {
  HttpResponse none;
  Channels* const channels = channels_of(backend, none);
  if (channels == nullptr) {
    return none;
  }
  const auto name = p.name("name");
  const auto who = participant ? p.name("participant") : std::expected<TextName, ApiFault>();
  if (!name || !who) {
    return fault(name ? who.error() : name.error());
  }
  if (!name->id.is_null()) {
    return channel_fault({ChannelFault::kBadName, fmt::format("`{}`", name->text())});
  }
  auto later = std::make_shared<LaterResponse>();
  call(*channels, *name, *who, ChannelAsker{"the control API"}, [later](std::expected<void, ChannelError> result) {
    later->give(result ? answer({{"ok", true}}) : channel_fault(result.error()));
  });
  HttpResponse response;
  response.later = std::move(later);
  return response;
}

HttpResponse create_channel(ApiBackend& backend, const Parameters& p) {
  const auto mls = p.has("mls") ? p.boolean("mls") : std::expected<bool, ApiFault>(true);
  if (!mls) {
    return fault(mls.error());
  }
  return change_channels(backend, p, false, [&](Channels& channels, const TextName& name, const TextName&, const ChannelAsker& asker, Channels::Done done) {
    channels.create(name, {.mls = *mls}, asker, std::move(done));
  });
}

HttpResponse delete_channel(ApiBackend& backend, const Parameters& p) {
  return change_channels(backend, p, false, [](Channels& channels, const TextName& name, const TextName&, const ChannelAsker& asker, Channels::Done done) {
    channels.remove(name, asker, std::move(done));
  });
}

HttpResponse invite_to_channel(ApiBackend& backend, const Parameters& p) {
  return change_channels(backend, p, true, [](Channels& channels, const TextName& name, const TextName& who, const ChannelAsker& asker, Channels::Done done) {
    channels.invite(name, who, asker, std::move(done));
  });
}

HttpResponse remove_from_channel(ApiBackend& backend, const Parameters& p) {
  return change_channels(backend, p, true, [](Channels& channels, const TextName& name, const TextName& who, const ChannelAsker& asker, Channels::Done done) {
    channels.remove_participant(name, who, asker, std::move(done));
  });
}

struct Endpoint {
  std::string_view method;
  std::string_view path;
  std::vector<std::string_view> parameters;
  HttpResponse (*call)(ApiBackend&, const Parameters&);
};

const std::vector<std::string_view> kWatchParameters = {"count", "link", "kind", "name", "drops_only", "snap_bytes", "limit_bytes", "seconds"};

const Endpoint kEndpoints[] = {
    {"GET", "/v1/version", {}, [](ApiBackend& b, const Parameters&) { return answer(to_json_value(b.version())); }},
    {"GET", "/v1/status", {}, [](ApiBackend& b, const Parameters&) { return answer(to_json_value(b.status())); }},
    {"GET", "/v1/ports", {}, [](ApiBackend& b, const Parameters&) {
       return answer({{"ports", rows_json(b.ports())}, {"listeners", rows_json(b.listeners())}});
     }},
    {"GET", "/v1/links", {"after", "limit"}, links},
    {"GET", "/v1/routes", {"after", "limit", "link", "name"}, routes},
    {"GET", "/v1/explain", {"name", "from", "hop_limit"}, explain},
    {"GET", "/v1/drops", {}, drops},
    {"GET", "/v1/books", {}, [](ApiBackend& b, const Parameters&) { return answer(to_json_value(b.books())); }},
    {"GET", "/v1/workers", {}, workers},
    {"GET", "/v1/memory", {}, [](ApiBackend& b, const Parameters&) { return answer(to_json_value(b.memory())); }},
    {"GET", "/v1/config", {}, [](ApiBackend& b, const Parameters&) { return answer(to_json_value(b.config())); }},
    {"GET", "/healthz", {}, [](ApiBackend& b, const Parameters&) {
       const auto why = b.unhealthy();
       return why.empty() ? answer({{"healthy", true}}) : answer({{"healthy", false}, {"error", why}, {"try", "see /v1/workers and the log"}}, 503);
     }},
    {"GET", "/metrics", {}, [](ApiBackend& b, const Parameters&) {
       return HttpResponse{.type = "application/openmetrics-text; version=1.0.0; charset=utf-8", .body = open_metrics(b)};
     }},
    {"GET", "/v1/channels", {}, list_channels},
    {"GET", "/v1/channels/show", {"name"}, show_channel},
    {"POST", "/v1/channels/create", {"name", "mls"}, create_channel},
    {"POST", "/v1/channels/delete", {"name"}, delete_channel},
    {"POST", "/v1/channels/invite", {"name", "participant"}, invite_to_channel},
    {"POST", "/v1/channels/remove", {"name", "participant"}, remove_from_channel},
    {"POST", "/v1/stop", {"drain_ms"}, stop},
    {"POST", "/v1/reload", {}, reload},
    {"POST", "/v1/log-level", {"level"}, [](ApiBackend& b, const Parameters& p) { return done(b.set_log_level(p.text("level"))); }},
    {"POST", "/v1/route/add", {"name", "to"}, [](ApiBackend& b, const Parameters& p) { return change_route(b, p, true); }},
    {"POST", "/v1/route/del", {"name", "to"}, [](ApiBackend& b, const Parameters& p) { return change_route(b, p, false); }},
    {"POST", "/v1/links/close", {"link"}, close_link},
    {"POST", "/v1/trace", kWatchParameters, [](ApiBackend& b, const Parameters& p) { return watch(b, p, false); }},
    {"POST", "/v1/capture", kWatchParameters, [](ApiBackend& b, const Parameters& p) { return watch(b, p, true); }},
};

}  // namespace

HttpResponse Api::handle(const HttpRequest& request) {
  bool path_known = false;
  for (const auto& endpoint : kEndpoints) {
    if (endpoint.path != request.path) {
      continue;
    }
    path_known = true;
    if (endpoint.method != request.method && !(endpoint.method == "GET" && request.method == "HEAD")) {
      continue;
    }
    const auto parameters = Parameters::of(request, endpoint.parameters);
    return parameters ? endpoint.call(backend_, *parameters) : fault(parameters.error());
  }
  if (path_known) {
    return fault({405, fmt::format("{} does not take {}", request.path, request.method), "use the other of GET and POST"});
  }
  std::string known;
  for (const auto& endpoint : kEndpoints) {
    known += fmt::format("{}{} {}", known.empty() ? "" : ", ", endpoint.method, endpoint.path);
  }
  return fault({404, fmt::format("there is no {}", request.path), known});
}

std::string trace_line(const Traced& t, std::span<const std::byte> header, const std::string& destination_text) {
  Json out{{"time_ns", t.time_ns}, {"from", t.from}, {"bytes", t.frame_bytes}};
  if (header.size() >= kFrameHeaderBytes) {
    const auto h = load_header(header.data());
    out["kind"] = static_cast<int>(h.kind);
    out["hop_limit"] = h.hop_limit;
    out["fanout"] = h.fanout;
    out["session"] = h.session_id;
    out["message"] = h.message_id;
    out["destination"] = destination_text;
  }
  out["candidates"] = {{"local", t.candidates[0]}, {"remote", t.candidates[1]}, {"peer", t.candidates[2]}, {"edge", t.candidates[3]}};
  out["chosen"] = t.chosen;
  out["copies"] = t.copies;
  out["punted"] = t.punted;
  if (t.drop_reason < kDropReasonCount) {
    const auto& reason = kDropReasonTexts[t.drop_reason];
    out["dropped"] = reason.name;
    out["verdict"] = fmt::format("dropped, {}: {}", reason.name, reason.what);
  } else if (t.punted) {
    out["verdict"] = "handed to the control thread";
  } else if (t.copies == 1 && t.chosen != kNoLink) {
    out["verdict"] = fmt::format("sent to link {}", t.chosen);
  } else {
    out["verdict"] = fmt::format("sent to {} links", t.copies);
  }
  return out.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace slipway

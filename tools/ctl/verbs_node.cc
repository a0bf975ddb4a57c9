// Verbs that ask the control API one question, and show its answer.

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "api_client.h"
#include "render.h"
#include "table.h"
#include "verbs.h"

namespace slipway::ctl {
namespace {

using Render = std::string (*)(const std::string&);

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

int show(const Arguments& a, std::string_view path, Render render, const Parameters& parameters = {}) {
  const auto answer = get(a.context, path, parameters);
  if (!answer) {
    return fail(a.context, answer.error());
  }
  print(a.context.json ? *answer : render(*answer));
  return 0;
}

int command(const Arguments& a, std::string_view path, const Parameters& parameters, const std::string& done) {
  const auto answer = post(a.context, path, parameters);
  if (!answer) {
    return fail(a.context, answer.error());
  }
  print(a.context.json ? *answer : done + "\n");
  return 0;
}

void add_number(Parameters* parameters, const char* key, std::uint64_t value) {
  if (value != 0) {
    parameters->emplace_back(key, std::to_string(value));
  }
}

Parameters watch_parameters(const Arguments& a) {
  Parameters parameters;
  if (!a.name.empty()) {
    parameters.emplace_back("name", a.name);
  }
  add_number(&parameters, "count", a.count);
  add_number(&parameters, "link", a.link);
  add_number(&parameters, "seconds", a.seconds);
  add_number(&parameters, "snap_bytes", a.snap_bytes);
  add_number(&parameters, "limit_bytes", a.limit_bytes);
  if (a.drops_only) {
    parameters.emplace_back("drops_only", "true");
  }
  constexpr std::string_view kKinds[] = {"", "publish", "subscribe", "unsubscribe", "ack", "link"};
  for (std::uint64_t i = 1; i < std::size(kKinds); ++i) {
    if (a.kind == kKinds[i]) {
      add_number(&parameters, "kind", i);
    }
  }
  return parameters;
}

}  // namespace

int verb_status(const Arguments& a) { return show(a, "/v1/status", render_status); }
int verb_ports(const Arguments& a) { return show(a, "/v1/ports", render_ports); }
int verb_drops(const Arguments& a) { return show(a, "/v1/drops", render_drops); }
int verb_workers(const Arguments& a) { return show(a, "/v1/workers", render_workers); }
int verb_memory(const Arguments& a) { return show(a, "/v1/memory", render_memory); }
int verb_config(const Arguments& a) { return show(a, "/v1/config", render_config); }
int verb_version(const Arguments& a) { return show(a, "/v1/version", render_version); }

int verb_links(const Arguments& a) {
  Parameters parameters;
  add_number(&parameters, "after", a.after);
  add_number(&parameters, "limit", a.limit);
  return show(a, "/v1/links", render_links, parameters);
}

int verb_routes(const Arguments& a) {
  Parameters parameters;
  add_number(&parameters, "after", a.after);
  add_number(&parameters, "limit", a.limit);
  add_number(&parameters, "link", a.link);
  if (!a.name.empty()) {
    parameters.emplace_back("name", a.name);
  }
  return show(a, "/v1/routes", render_routes, parameters);
}

int verb_explain(const Arguments& a) {
  Parameters parameters{{"name", a.name}};
  add_number(&parameters, "from", a.from);
  add_number(&parameters, "hop_limit", a.hop_limit);
  return show(a, "/v1/explain", render_explain, parameters);
}

int verb_books(const Arguments& a) {
  const auto answer = get(a.context, "/v1/books");
  if (!answer) {
    return fail(a.context, answer.error());
  }
  print(a.context.json ? *answer : render_books(*answer));
  return static_cast<int>(books_balance(*answer) ? ExitCode::kOk : ExitCode::kCheckFailed);
}

int verb_stop(const Arguments& a) {
  Parameters parameters;
  if (a.drain_ms >= 0) {
    parameters.emplace_back("drain_ms", std::to_string(a.drain_ms));
  }
  return command(a, "/v1/stop", parameters, "the node is stopping: it drains what it holds, then ends");
}

int verb_reload(const Arguments& a) {
  const auto answer = post(a.context, "/v1/reload");
  if (!answer) {
    return fail(a.context, answer.error());
  }
  print(a.context.json ? *answer : render_reload(*answer));
  return 0;
}

int verb_route_add(const Arguments& a) {
  return command(a, "/v1/route/add", {{"name", a.name}, {"to", a.to}}, fmt::format("{} goes to {} now", a.name, a.to));
}
int verb_route_del(const Arguments& a) {
  return command(a, "/v1/route/del", {{"name", a.name}, {"to", a.to}}, fmt::format("{} no longer goes to {} by a static route", a.name, a.to));
}
int verb_log_level(const Arguments& a) { return command(a, "/v1/log-level", {{"level", a.level}}, fmt::format("the node logs at level {} now", a.level)); }
int verb_close(const Arguments& a) { return command(a, "/v1/links/close", {{"link", std::to_string(a.link)}}, fmt::format("link {} is closed", a.link)); }

// Names are found, invited and answer: it takes longer than a question.
Arguments patient(const Arguments& a) {
  constexpr int kPatienceMs = 60'000;
  Arguments out = a;
  out.context.timeout_ms = std::max(out.context.timeout_ms, kPatienceMs);
  return out;
}

int verb_channel_list(const Arguments& a) { return show(a, "/v1/channels", render_channels); }
int verb_channel_show(const Arguments& a) { return show(a, "/v1/channels/show", render_channel, {{"name", a.name}}); }
int verb_channel_create(const Arguments& a) {
  return command(a, "/v1/channels/create", {{"name", a.name}, {"mls", a.no_mls ? "false" : "true"}},
                 fmt::format("channel {} is there{}", a.name, a.no_mls ? ", without MLS: its messages are not encrypted"
                                                                       : "; the node is a member of its group and could read"));
}
int verb_channel_delete(const Arguments& a) {
  return command(patient(a), "/v1/channels/delete", {{"name", a.name}}, fmt::format("channel {} is deleted", a.name));
}
int verb_channel_invite(const Arguments& a) {
  return command(patient(a), "/v1/channels/invite", {{"name", a.name}, {"participant", a.participant}}, fmt::format("{} is in {} now", a.participant, a.name));
}
int verb_channel_remove(const Arguments& a) {
  return command(patient(a), "/v1/channels/remove", {{"name", a.name}, {"participant", a.participant}},
                 fmt::format("{} is no longer in {}", a.participant, a.name));
}

int verb_trace(const Arguments& a) {
  std::string partial;
  std::uint64_t shown = 0;
  if (!a.context.json) {
    std::fprintf(stderr, "waiting for frames; Ctrl-C ends\n");
  }
  const auto result = stream(a.context, "/v1/trace", watch_parameters(a), [&](std::string_view bytes) {
    partial += bytes;
    for (std::size_t end = 0; (end = partial.find('\n')) != std::string::npos; partial.erase(0, end + 1)) {
      const std::string line = partial.substr(0, end);
      print(a.context.json ? line + "\n" : render_trace_line(line));
      ++shown;
    }
    std::fflush(stdout);
    return true;
  });
  if (!result) {
    return fail(a.context, result.error());
  }
  if (!a.context.json) {
    std::fprintf(stderr, "%llu frames\n", static_cast<unsigned long long>(shown));
  }
  return 0;
}

int verb_capture(const Arguments& a) {
  const bool to_stdout = a.output == "-";
  if (to_stdout && isatty(STDOUT_FILENO) != 0) {
    return fail(a.context, {ExitCode::kUsage, "a capture is binary and does not go to a terminal", "-o FILE, or pipe it: slipwayctl capture -o - | wireshark -k -i -"});
  }
  std::FILE* file = to_stdout ? stdout : std::fopen(a.output.c_str(), "wb");
  if (file == nullptr) {
    return fail(a.context, {ExitCode::kNotFound, fmt::format("cannot write {}: {}", a.output, strerror(errno)), "-o FILE in a folder that exists and may be written"});
  }
  std::uint64_t written = 0;
  bool short_write = false;
  const auto result = stream(a.context, "/v1/capture", watch_parameters(a), [&](std::string_view bytes) {
    short_write = std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size() || std::fflush(file) != 0;
    written += bytes.size();
    return !short_write;
  });
  if (!to_stdout) {
    std::fclose(file);
    if (!result && written == 0) {
      std::remove(a.output.c_str());
    }
  }
  if (!result) {
    return fail(a.context, result.error());
  }
  if (short_write) {
    return fail(a.context, {ExitCode::kFailed, fmt::format("cannot write all of {}: {}", a.output, strerror(errno)), "is the disk full?"});
  }
  if (!to_stdout) {
    const std::string done = a.context.json ? fmt::format("{{\"file\": \"{}\", \"bytes\": {}}}\n", a.output, written) : fmt::format("{} in {}\n", bytes_text(written), a.output);
    print(done);
  }
  return 0;
}

}  // namespace slipway::ctl

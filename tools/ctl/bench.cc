// slipwayctl bench: from the command line to a run, and its result as a table, JSON or CSV.

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "bench_run.h"
#include "client/endpoint.h"
#include "table.h"
#include "verbs.h"

namespace slipway::ctl {
namespace {

using Json = nlohmann::json;

double us(std::uint64_t ns) { return static_cast<double>(ns) / 1000; }

Json percentiles(const Histogram& h) {
  return {{"p50", us(h.percentile(0.5))}, {"p90", us(h.percentile(0.9))}, {"p99", us(h.percentile(0.99))}, {"p99_9", us(h.percentile(0.999))}, {"max", us(h.largest())}, {"mean", h.mean() / 1000}, {"count", h.count()}};
}

std::string pattern_text(const BenchPlan& plan) { return plan.request_reply ? "request" : fmt::format("{}:{}", plan.senders, plan.receivers); }

Json result_json(const BenchResult& r) {
  const double per_second = r.seconds > 0 ? static_cast<double>(r.delivered) / r.seconds : 0;
  return {{"pattern", pattern_text(r.plan)},
          {"node", r.plan.node},
          {"size", r.plan.size},
          {"rate", r.plan.rate},
          {"window", r.plan.window},
          {"seconds", r.seconds},
          {"sent", r.sent},
          {"expected", r.expected},
          {"delivered", r.delivered},
          {"missing", r.expected > r.delivered ? r.expected - r.delivered : 0},
          {"nobody", r.nobody},
          {"refused", r.refused},
          {"late", r.late},
          {"sent_per_second", r.seconds > 0 ? static_cast<double>(r.sent) / r.seconds : 0},
          {"delivered_per_second", per_second},
          {"payload_bytes_per_second", per_second * r.plan.size},
          {"latency_us", percentiles(r.latency)},
          {"latency_from_sending_us", percentiles(r.from_sending)},
          {"busy", {{"sender", r.sender_busy}, {"receiver", r.receiver_busy}, {"machine", r.machine_busy}}},
          {"limited_by", r.limited_by},
          {"why", r.why}};
}

std::string latency_line(const char* title, const Histogram& h) {
  return fmt::format("{}  p50 {:.0f}  p90 {:.0f}  p99 {:.0f}  p99.9 {:.0f}  max {:.0f}  us\n", title, us(h.percentile(0.5)), us(h.percentile(0.9)), us(h.percentile(0.99)), us(h.percentile(0.999)),
                     us(h.largest()));
}

std::string result_table(const BenchResult& r) {
  const double per_second = r.seconds > 0 ? static_cast<double>(r.delivered) / r.seconds : 0;
  std::string out = fmt::format("{} over {}, {} B payload, {:.2f} s\n", pattern_text(r.plan), r.plan.node, r.plan.size, r.seconds);
  out += fmt::format("sent          {} ({})\n", count_text(r.sent), rate_text(r.seconds > 0 ? static_cast<double>(r.sent) / r.seconds : 0));
  out += fmt::format("{}  {} of {} ({}, {}/s of payload)\n", r.plan.request_reply ? "answered    " : "delivered   ", count_text(r.delivered), count_text(r.expected), rate_text(per_second),
                     bytes_text(static_cast<std::uint64_t>(per_second * r.plan.size)));
  if (r.expected > r.delivered) {
    out += fmt::format("missing       {}: slipwayctl drops says why\n", count_text(r.expected - r.delivered));
  }
  if (r.nobody > 0) {
    out += fmt::format("nobody        {} messages reached nobody, says the node\n", count_text(r.nobody));
  }
  if (r.plan.rate > 0) {
    out += latency_line("latency     ", r.latency) + latency_line("  uncorrected", r.from_sending);
    out += "              (latency counts from when a message was due; uncorrected from when it was sent)\n";
    if (r.late > 0) {
      out += fmt::format("late          {} messages left more than 1 ms after their time\n", count_text(r.late));
    }
  } else {
    out += latency_line("latency     ", r.latency);
    if (!r.plan.request_reply) {
      out += "              (at full speed this is the depth of the queues; --rate shows what a message takes)\n";
    }
  }
  out += fmt::format("busy          senders {:.0f} %, receivers {:.0f} % of a core; machine {:.0f} %\n", r.sender_busy * 100, r.receiver_busy * 100, r.machine_busy * 100);
  return out + fmt::format("limited by    {}: {}\n", r.limited_by, r.why);
}

std::string result_csv(const BenchResult& r) {
  const Json j = result_json(r);
  std::string header = "pattern,size,rate,window,seconds,sent,delivered,missing,sent_per_second,delivered_per_second,p50_us,p90_us,p99_us,p99_9_us,max_us,sender_busy,receiver_busy,machine_busy,limited_by\n";
  const auto& l = j["latency_us"];
  return header + fmt::format("{},{},{},{},{:.6f},{},{},{},{:.1f},{:.1f},{:.1f},{:.1f},{:.1f},{:.1f},{:.1f},{:.3f},{:.3f},{:.3f},{}\n", pattern_text(r.plan), r.plan.size, r.plan.rate, r.plan.window, r.seconds, r.sent,
                              r.delivered, j["missing"].get<std::uint64_t>(), j["sent_per_second"].get<double>(), j["delivered_per_second"].get<double>(), l["p50"].get<double>(), l["p90"].get<double>(),
                              l["p99"].get<double>(), l["p99_9"].get<double>(), l["max"].get<double>(), r.sender_busy, r.receiver_busy, r.machine_busy, r.limited_by);
}

}  // namespace

int verb_bench(const Arguments& a) {
  auto plan = bench_plan(a.pattern);
  if (!plan) {
    return fail(a.context, plan.error());
  }
  if (const auto endpoint = parse_endpoint(a.context.node); !endpoint) {
    return fail(a.context, {ExitCode::kUsage, endpoint.error(), ""});
  }
  plan->node = a.context.node;
  plan->size = a.size == 0 ? 64 : a.size;
  plan->messages = a.messages;
  plan->seconds = a.duration;
  plan->rate = a.rate;
  plan->window = a.window;
  plan->timeout_ms = a.context.timeout_ms;
  if (a.anycast) {
    plan->channel = false;
  }
  const auto result = bench_run(*plan);
  if (!result) {
    return fail(a.context, result.error());
  }
  const std::string out = a.context.json ? result_json(*result).dump() + "\n" : a.csv ? result_csv(*result) : result_table(*result);
  std::fwrite(out.data(), 1, out.size(), stdout);
  return static_cast<int>(result->delivered == 0 ? ExitCode::kNoReceiver : ExitCode::kOk);
}

}  // namespace slipway::ctl

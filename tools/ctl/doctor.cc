#include "doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "edge/auth_basic.h"
#include "edge/auth_jwt.h"
#include "edge_client/edge_endpoint.h"
#include "frame/name.h"
#include "table.h"
#include "verbs.h"

namespace slipway::ctl {
namespace {

std::string_view result_text(DoctorStep::Result result) {
  switch (result) {
    case DoctorStep::Result::kOk:
      return "ok";
    case DoctorStep::Result::kBad:
      return "bad";
    case DoctorStep::Result::kSkipped:
      return "skipped";
  }
  return "";
}

}  // namespace

std::expected<std::string, std::string> authorization_of(const Arguments& a) {
  if (!a.token_file.empty()) {
    return static_token_authorization(a.token_file);
  }
  if (a.basic_file.empty()) {
    return std::string();
  }
  std::ifstream file(a.basic_file);
  std::string line;
  std::getline(file, line);
  const auto colon = line.find(':');
  if (!file || colon == std::string::npos) {
    return std::unexpected(fmt::format("{} must hold one line USER:PASSWORD", a.basic_file));
  }
  return basic_authorization(std::string_view(line).substr(0, colon), std::string_view(line).substr(colon + 1));
}

const DoctorStep* DoctorReport::failed() const {
  const auto at = std::ranges::find(steps, DoctorStep::Result::kBad, &DoctorStep::result);
  return at == steps.end() ? nullptr : &*at;
}

DoctorStep& DoctorSteps::step(std::string_view name) { return *std::ranges::find(report_.steps, name, &DoctorStep::name); }

void DoctorSteps::finish(DoctorStep& step, DoctorStep::Result result, std::string found) {
  const std::uint64_t now = loop_.refresh_now();
  step.result = result;
  step.ms = static_cast<double>(now - since_ns_) / 1e6;
  step.found = std::move(found);
  since_ns_ = now;
}

void DoctorSteps::pass(std::string_view name, std::string found) { finish(step(name), DoctorStep::Result::kOk, std::move(found)); }

void DoctorSteps::fail(std::string_view name, std::string found, std::string remedy) {
  DoctorStep& one = step(name);
  if (one.result == DoctorStep::Result::kBad) {
    return;  // its first reason is the reason
  }
  finish(one, DoctorStep::Result::kBad, std::move(found));
  one.remedy = std::move(remedy);
}

std::string render_doctor(const DoctorReport& report) {
  std::string out;
  for (const auto& step : report.steps) {
    const bool skipped = step.result == DoctorStep::Result::kSkipped;
    const auto mark = skipped ? "-" : step.result == DoctorStep::Result::kOk ? "ok" : "BAD";
    const auto time = skipped ? std::string() : fmt::format("{:.1f} ms", step.ms);
    out += fmt::format("{:<4} {:<12} {:>11}  {}\n", mark, step.name, time, skipped ? "not tried" : safe_text(step.found));
    if (!step.remedy.empty()) {
      out += fmt::format("     try: {}\n", safe_text(step.remedy));
    }
  }
  return out;
}

std::string doctor_json(const DoctorReport& report) {
  nlohmann::json steps = nlohmann::json::array();
  for (const auto& step : report.steps) {
    steps.push_back({{"name", step.name}, {"result", result_text(step.result)}, {"ms", step.ms}, {"found", step.found}, {"try", step.remedy}});
  }
  const auto* failed = report.failed();
  return nlohmann::json{{"endpoint", report.endpoint},
                        {"good", failed == nullptr},
                        {"failed", failed == nullptr ? nlohmann::json() : nlohmann::json(failed->name)},
                        {"steps", steps}}
             .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
         "\n";
}

int verb_doctor(const Arguments& a) {
  DoctorOptions options{.endpoint = a.endpoint, .native = a.native, .ca_file = a.ca_file, .certificate_file = a.certificate_file,
                        .key_file = a.key_file, .server_name = a.server_name, .insecure = a.insecure, .authorization = {},
                        .strict_mac = !a.no_mac, .timeout_ms = static_cast<std::uint32_t>(a.context.timeout_ms)};
  if (!a.name.empty()) {
    options.name = a.name;
  }
  if (a.certificate_file.empty() != a.key_file.empty()) {
    return fail(a.context, {ExitCode::kUsage, "a client certificate needs its key, and a key its certificate", "--cert FILE --key FILE"});
  }
  auto authorization = authorization_of(a);
  if (!authorization) {
    return fail(a.context, {ExitCode::kUsage, authorization.error(), {}});
  }
  options.authorization = std::move(*authorization);
  const auto name = parse_name(options.name);
  if (!name) {
    return fail(a.context, {ExitCode::kUsage, name.error(), "--name org/namespace/service"});
  }
  const auto edge = parse_edge_endpoint(options.endpoint);
  const auto native = parse_endpoint(options.endpoint);
  if (is_native(options) ? !native : !edge) {
    return fail(a.context, {ExitCode::kUsage, is_native(options) ? native.error() : edge.error(),
                            "or tcp://HOST:PORT and udp://HOST:PORT for a slipway's native listener"});
  }
  const auto report = is_native(options) ? doctor_native(options) : doctor_edge(options);
  const auto text = a.context.json ? doctor_json(report) : render_doctor(report);
  std::fwrite(text.data(), 1, text.size(), stdout);
  const auto* failed = report.failed();
  return static_cast<int>(failed == nullptr ? ExitCode::kOk : failed->code);
}

}  // namespace slipway::ctl

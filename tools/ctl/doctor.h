#pragma once
// slipwayctl doctor: connects to a SLIM node as an application would, and says how far it came. The verb parses and prints;
// doctor_edge.cc and doctor_native.cc take the steps, each on a loop of its own.

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "exit_code.h"
#include "loop/loop.h"

namespace slipway::ctl {

struct Arguments;
// The header that a file of credentials means. They are in files because command lines can be seen by others.
std::expected<std::string, std::string> authorization_of(const Arguments& a);

struct DoctorOptions {
  std::string endpoint;
  bool native = false;          // unix:// leads to a native listener
  std::string ca_file;
  std::string certificate_file;
  std::string key_file;
  std::string server_name;
  bool insecure = false;        // takes any certificate
  std::string authorization;    // value of the header
  std::string name = "slipway/doctor/probe";  // whose instances we are
  bool strict_mac = true;
  std::uint32_t timeout_ms = 5'000;  // of each step
};

struct DoctorStep {
  enum class Result : std::uint8_t { kOk, kBad, kSkipped };
  std::string_view name;
  ExitCode code = ExitCode::kFailed;  // of the program, when this is the step that failed
  Result result = Result::kSkipped;
  double ms = 0;
  std::string found;
  std::string remedy;
};

struct DoctorReport {
  std::string endpoint;
  std::vector<DoctorStep> steps;  // all of them, in order
  [[nodiscard]] const DoctorStep* failed() const;  // the first that did; nullptr: none
};

// Steps by name, and the time that each took: from the end of the one before it.
class DoctorSteps {
 public:
  DoctorSteps(DoctorReport& report, Loop& loop) : report_(report), loop_(loop), since_ns_(loop.refresh_now()) {}
  void pass(std::string_view name, std::string found);
  void fail(std::string_view name, std::string found, std::string remedy);
  DoctorStep& step(std::string_view name);

 private:
  void finish(DoctorStep& step, DoctorStep::Result result, std::string found);
  DoctorReport& report_;
  Loop& loop_;
  std::uint64_t since_ns_;
};

// Upstream's protocol: http, https, grpc, ws, wss, unix. The native one: tcp, udp, unix.
[[nodiscard]] bool is_native(const DoctorOptions& options);
[[nodiscard]] DoctorReport doctor_edge(const DoctorOptions& options);
[[nodiscard]] DoctorReport doctor_native(const DoctorOptions& options);

[[nodiscard]] std::string render_doctor(const DoctorReport& report);
[[nodiscard]] std::string doctor_json(const DoctorReport& report);

}  // namespace slipway::ctl

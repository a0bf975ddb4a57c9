#include "session_application.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "doctor.h"
#include "exit_code.h"
#include "identity/jwt_identity.h"
#include "identity/shared_secret.h"
#include "table.h"

namespace slipway::ctl {
namespace {

using Json = nlohmann::json;

// The secret never stands on a command line, where others could read it.
std::expected<std::string, Failure> secret_of(const Arguments& a) {
  if (!a.secret_file.empty()) {
    std::ifstream file(a.secret_file, std::ios::binary);
    std::string secret{std::istreambuf_iterator<char>(file), {}};
    while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r')) {
      secret.pop_back();
    }
    if (!file || secret.empty()) {
      return std::unexpected(Failure{ExitCode::kNotFound, "cannot read a secret from " + a.secret_file, "one line of at least 32 bytes"});
    }
    return secret;
  }
  if (const char* secret = std::getenv("SLIPWAY_SECRET")) {
    return std::string(secret);
  }
  return std::unexpected(Failure{ExitCode::kUsage, "sessions need an identity", "--secret-file FILE or SLIPWAY_SECRET: a secret that the applications share; or "
                                                                                 "--jwt-key FILE and --jwt-trust FILE"});
}

std::expected<Identity, Failure> jwt_of(const Arguments& a, const std::string& name) {
  const auto algorithm = jwt_algorithm(a.jwt_algorithm);
  if (!algorithm) {
    return std::unexpected(Failure{ExitCode::kUsage, "no signature algorithm is called " + a.jwt_algorithm, "--jwt-algorithm ES256, EdDSA, RS256 ..."});
  }
  if (a.jwt_trust.empty()) {
    return std::unexpected(Failure{ExitCode::kUsage, "whose tokens are to be believed?", "--jwt-trust FILE, a public key; several times for several"});
  }
  JwtProviderOptions own{.signing_key = {.algorithm = *algorithm, .format = AuthKeyFormat::kPem, .file = a.jwt_key, .data = {}},
                         .subject = a.jwt_subject.empty() ? name : a.jwt_subject,
                         .issuer = a.jwt_issuer,
                         .audiences = a.jwt_audiences,
                         .duration_s = a.jwt_seconds,
                         .key = {}};
  JwtVerifierOptions trusted{.keys = {}, .rules = {.audiences = a.jwt_audiences, .issuer = a.jwt_issuer}};
  for (const std::string& file : a.jwt_trust) {
    trusted.keys.push_back({.algorithm = *algorithm, .format = AuthKeyFormat::kPem, .file = file, .data = {}});
  }
  auto provider = jwt_provider(std::move(own));
  auto verifier = jwt_verifier(std::move(trusted));
  if (!provider || !verifier) {
    const IdentityError& error = provider ? verifier.error() : provider.error();
    return std::unexpected(Failure{ExitCode::kNotFound, error.message(), "--jwt-key is a private key in PEM, --jwt-trust a public one, both of --jwt-algorithm"});
  }
  return Identity{std::move(*provider), std::move(*verifier)};
}

std::expected<Identity, Failure> identity_of(const Arguments& a, const TextName& name) {
  const std::string service = TextName{name.component, kNullId}.text();
  if (!a.jwt_key.empty()) {
    return jwt_of(a, service);
  }
  const auto secret = secret_of(a);
  if (!secret) {
    return std::unexpected(secret.error());
  }
  auto identity = shared_secret_identity({.base = service, .secret = *secret});
  if (!identity) {
    return std::unexpected(Failure{ExitCode::kRefused, identity.error().message(), ""});
  }
  return std::move(*identity);
}

// Its error is told.
int connect_to(const Arguments& a, BlockingApp& app, const std::string& address, const std::string& name) {
  const auto authorization = authorization_of(a);
  if (!authorization) {
    return fail(a.context, {ExitCode::kUsage, authorization.error(), ""});
  }
  const auto connected = app.connect({.address = address, .client_name = name, .ca_file = a.ca_file, .certificate_file = a.certificate_file,
                                      .key_file = a.key_file, .server_name = a.server_name, .skip_verify = a.insecure, .authorization = *authorization},
                                     std::chrono::milliseconds(a.context.timeout_ms));
  if (connected) {
    return 0;
  }
  const bool unreachable = connected.error().fault == AppFault::kTimeout;
  return unreachable ? fail(a.context, {ExitCode::kNotReachable, connected.error().message(), "--node ADDRESS or SLIPWAY_NODE names a listener of the node"})
                     : failed(a, connected.error());
}

}  // namespace

int failed(const Arguments& a, const AppError& error) {
  const ExitCode code = error.fault == AppFault::kTimeout                                                             ? ExitCode::kTimeout
                        : error.fault == AppFault::kAddress || error.fault == AppFault::kBadName                      ? ExitCode::kUsage
                        : error.fault == AppFault::kRefused || error.fault == AppFault::kIdentity                     ? ExitCode::kRefused
                        : error.session == SessionFault::kNotFound || error.session == SessionFault::kNoAnswer        ? ExitCode::kNoReceiver
                                                                                                                      : ExitCode::kFailed;
  return fail(a.context, {code, error.message(), ""});
}

void say(const Arguments& a, const std::string& json, const std::string& text) {
  if (a.context.json) {
    std::printf("%s\n", json.c_str());
  } else if (!text.empty()) {
    std::printf("%s\n", text.c_str());
  }
  std::fflush(stdout);
}

Ready start_application(const Arguments& a, const std::string& name) {
  const auto parsed = parse_name(name);
  if (!parsed) {
    return {nullptr, fail(a.context, {ExitCode::kUsage, parsed.error(), ""})};
  }
  auto identity = identity_of(a, *parsed);
  if (!identity) {
    return {nullptr, fail(a.context, identity.error())};
  }
  auto app = BlockingApp::create({.name = *parsed, .identity = std::move(*identity)});
  if (!app) {
    return {nullptr, failed(a, app.error())};
  }
  std::vector<std::string> addresses{a.context.node};
  addresses.insert(addresses.end(), a.also.begin(), a.also.end());
  for (const std::string& address : addresses) {
    if (const int code = connect_to(a, **app, address, name); code != 0) {
      return {nullptr, code};
    }
  }
  const Json ready{{"ready", (*app)->name().shown()}, {"node", a.context.node}};
  say(a, ready.dump(-1, ' ', false, Json::error_handler_t::replace), "ready as " + safe_text((*app)->name().shown()));
  return {std::move(*app), 0};
}

}  // namespace slipway::ctl

// Credentials of connections, as upstream's file writes them.
#include <fmt/format.h>

#include "node/config_edge.h"

namespace slipway {

namespace {

constexpr std::uint64_t kMaxTokenMs = 365ull * 24 * 3600 * 1000;

void read_basic(YamlSection& auth, EdgeAuthSettings& out) {
  out.user = auth.text("username", "");
  out.password = auth.text("password", "");
  if (out.user.empty() || out.password.empty()) {
    auth.reader().fail_line(auth.line(), "`username` and `password` are needed for `type: basic`");
  }
}

// `key: {file: PATH}` or `key: {data: TEXT}` inside of `key: {type, algorithm, format}`.
void read_key(YamlSection key, bool server, AuthKeySource& out) {
  const auto wanted = server ? "decoding" : "encoding";
  if (const auto type = key.text("type", ""); type != wanted) {
    key.reader().fail_line(key.line(), fmt::format("`{}.type`: `{}` is not served {}: write {}", "key", type, server ? "for servers" : "for clients", wanted));
    return;
  }
  const auto name = key.text("algorithm", "");
  const auto algorithm = jwt_algorithm(name);
  if (!algorithm) {
    key.fail("algorithm", fmt::format("`{}` is none that tokens are signed with here: write HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, "
                                      "PS512, ES256, ES384 or EdDSA", name));
    return;
  }
  out.algorithm = *algorithm;
  constexpr AuthKeyFormat kFormats[] = {AuthKeyFormat::kPem, AuthKeyFormat::kJwk, AuthKeyFormat::kJwks};
  out.format = kFormats[key.choice("format", {"pem", "jwk", "jwks"}, 0)];
  auto source = key.section("key");
  out.file = source.text("file", "");
  out.data = source.text("data", "");
  if (out.file.empty() == out.data.empty()) {
    key.reader().fail_line(key.line_of("key"), "exactly one of `file` and `data` is needed in `key`");
  }
}

// The first that is there: upstream takes the short names too.
std::string either(YamlSection& claims, std::string_view name, std::string_view other) {
  return claims.has(name) ? claims.text(name, "") : claims.text(other, "");
}

std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

// Further claims of a token: words become texts, but for numbers, true, false and null, which stay what they are.
std::string json_of(const YAML::Node& node) {
  if (node.IsMap() || node.IsSequence()) {
    std::string out;
    for (const auto& entry : node) {
      out += out.empty() ? "" : ",";
      out += node.IsMap() ? fmt::format("{}:{}", json_text(entry.first.Scalar()), json_of(entry.second)) : json_of(entry);
    }
    return node.IsMap() ? "{" + out + "}" : "[" + out + "]";
  }
  if (!node.IsScalar()) {
    return "null";
  }
  const std::string& text = node.Scalar();
  const bool quoted = node.Tag() == "!";
  long long number = 0;
  if (!quoted && (text == "true" || text == "false" || (YAML::convert<long long>::decode(node, number) && std::to_string(number) == text))) {
    return text;
  }
  return json_text(text);
}

void read_jwt(YamlSection& auth, bool server, EdgeAuthSettings& out) {
  if (auth.has("policy")) {
    auth.refuse("policy", "policies in Rego or CEL are not served by this build: remove it, or let only those sign tokens who may connect");
    return;
  }
  auto claims = auth.section("claims");
  std::vector<std::string> audiences;
  for (const auto* name : {"audience", "audiences", "aud"}) {
    claims.each_text(name, [&](std::string text, const YAML::Node&) { audiences.push_back(std::move(text)); });
  }
  const auto issuer = either(claims, "issuer", "iss");
  const auto subject = either(claims, "subject", "sub");
  out.rules.audiences = out.claims.audiences = std::move(audiences);
  out.rules.issuer = out.claims.issuer = issuer;
  out.claims.subject = subject;
  if (const auto custom = claims.raw("custom_claims"); claims.has("custom_claims") && !custom.IsMap()) {
    claims.fail("custom_claims", "must be a section of `name: value` lines");
  } else if (claims.has("custom_claims")) {
    out.claims.custom_json = json_of(custom);
  }
  out.claims.duration_s = auth.duration_ms("duration", kMaxTokenMs, 3'600'000) / 1000;
  constexpr SubjectBinding kBindings[] = {SubjectBinding::kOff, SubjectBinding::kWarn, SubjectBinding::kEnforce};
  if (server) {
    out.rules.subject_binding = kBindings[auth.choice("subject_binding", {"off", "warn", "enforce"}, 0)];
  }
  if (word_of(auth, "key", "type") == "autoresolve") {
    auth.refuse("key", "`type: autoresolve` is not served by this build: write `type: decoding` and give the keys as `format: jwks`");
    return;
  }
  read_key(auth.section("key"), server, out.key);
}

}  // namespace

void read_edge_auth(YamlSection& entry, bool server, EdgeAuthSettings& out) {
  using Kind = EdgeAuthSettings::Kind;
  const auto type = word_of(entry, "auth", "type");
  if (!entry.has("auth") || type == "none") {
    if (entry.has("auth")) {
      (void)entry.section("auth").text("type", "none");
    }
    return;
  }
  out.kind = type == "basic" ? Kind::kBasic : type == "jwt" ? Kind::kJwt : type == "static_jwt" && !server ? Kind::kStaticJwt : Kind::kNone;
  if (out.kind == Kind::kNone) {
    entry.refuse("auth", fmt::format("`type: {}` is not served by this build: write none, basic{}", type, server ? " or jwt" : ", jwt or static_jwt"));
    return;
  }
  auto auth = entry.section("auth");
  if (out.kind == Kind::kBasic) {
    read_basic(auth, out);
  } else if (out.kind == Kind::kJwt) {
    read_jwt(auth, server, out);
  } else {
    out.token_file = auth.text("file", "");
    if (out.token_file.empty()) {
      auth.reader().fail_line(auth.line(), "`file` is missing: where the token is");
    }
  }
}

}  // namespace slipway

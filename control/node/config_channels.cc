// The channels that the node hosts, and who it is there.
#include "node/config_channels.h"

#include <fmt/format.h>

#include <algorithm>

#include "channel/channel_bounds.h"
#include "node/config_edge.h"

namespace slipway {

namespace {

TextName read_name(YamlSection& section, const YAML::Node& at, const std::string& text, bool may_have_id) {
  auto name = parse_name(text);
  if (!name) {
    section.reader().fail(at, name.error());
    return {};
  }
  if (!may_have_id && !name->id.is_null()) {
    section.reader().fail(at, fmt::format("`{}`: write it without an id", text));
  }
  return *name;
}

TextName read_own_name(YamlSection& section, std::string_view key) {
  if (!section.has(key)) {
    section.reader().fail_line(section.line(), fmt::format("`{}` is missing: write org/namespace/name", key));
    return {};
  }
  return read_name(section, section.raw(key), section.text(key, ""), false);
}

// The keys of `auth` in an entry of upstream's `clients` or `servers`.
EdgeAuthSettings read_jwt(YamlSection& identity, std::string_view key, bool server) {
  EdgeAuthSettings out;
  if (!identity.has(key)) {
    identity.reader().fail_line(identity.line(), fmt::format("`{}` is missing: it is needed for `type: jwt`", key));
    return out;
  }
  YAML::Node entry;
  entry["auth"] = identity.raw(key);
  YamlSection section(identity.reader(), entry, server ? "services.*.dataplane.servers[]" : "services.*.dataplane.clients[]");
  read_edge_auth(section, server, out);
  if (identity.reader().ok() && out.kind != EdgeAuthSettings::Kind::kJwt) {
    identity.fail(key, "`type: jwt` is needed");
  }
  return out;
}

void read_identity(YamlSection identity, ChannelSettings& out) {
  const bool jwt = identity.choice("type", {"shared_secret", "jwt"}, 0) == 1;
  out.private_key_file = identity.text("private_key_file", "");
  constexpr const char* kBindings[] = {"off", "warn", "enforce"};
  out.binding = kBindings[identity.choice("binding", {"off", "warn", "enforce"}, 1)];
  out.secret_file = identity.text("secret_file", "");
  out.subject = identity.text("subject", "");
  if (!jwt) {
    for (const auto* key : {"token", "verify"}) {
      if (identity.has(key)) {
        identity.fail(key, "only for `type: jwt`");
      }
    }
    if (out.secret_file.empty()) {
      identity.reader().fail_line(identity.line(), "`secret_file` is missing: the file with the secret that the applications share");
    }
    return;
  }
  for (const auto* key : {"secret_file", "subject"}) {
    if (identity.has(key)) {
      identity.fail(key, "only for `type: shared_secret`");
    }
  }
  const auto token = read_jwt(identity, "token", false);
  out.token_key = token.key;
  out.token = token.claims;
  const auto verify = read_jwt(identity, "verify", true);
  out.verify_key = verify.key;
  out.verify = verify.rules;
  if (identity.reader().ok() && out.token.subject.empty()) {
    identity.fail("token", "`claims.subject` is missing: it is the node's identity");
  }
}

void read_hosted(YamlSection& channels, ChannelSettings& out) {
  channels.each("hosted", [&](YamlSection entry) {
    HostedChannel hosted;
    hosted.name = read_own_name(entry, "name");
    hosted.mls = entry.boolean("mls", true);
    entry.each_text("participants", [&](const std::string& text, const YAML::Node& at) {
      TextName name = read_name(entry, at, text, true);
      if (std::ranges::find(hosted.participants, name) != hosted.participants.end()) {
        entry.reader().fail(at, fmt::format("{} is there twice", text));
      }
      hosted.participants.push_back(std::move(name));
    });
    if (std::ranges::any_of(out.hosted, [&](const auto& h) { return h.name == hosted.name; })) {
      entry.reader().fail_line(entry.line(), fmt::format("two channels are called {}", hosted.name.text()));
    }
    out.hosted.push_back(std::move(hosted));
  });
  if (out.hosted.size() > out.limit) {
    channels.fail("hosted", fmt::format("{} channels, and `limit` is {}", out.hosted.size(), out.limit));
  }
}

}  // namespace

void read_channels(YamlSection& slipway, ChannelSettings& out) {
  if (!slipway.has("channels")) {
    return;
  }
  auto channels = slipway.section("channels");
  out.on = true;
  out.line = channels.line();
  out.name = read_own_name(channels, "name");
  if (!channels.has("identity")) {
    channels.reader().fail_line(channels.line(), "`identity` is missing: who the node is as an application");
    return;
  }
  read_identity(channels.section("identity"), out);
  out.store_file = channels.text("store", "");
  out.key_file = channels.text("key_file", "");
  if (out.store_file.empty() != out.key_file.empty()) {
    channels.fail(out.store_file.empty() ? "key_file" : "store", "`store` and `key_file` go together: channels are kept sealed, or not at all");
  }
  out.limit = static_cast<std::uint32_t>(channels.number("limit", 1, kMaxMaxChannels, kDefaultMaxChannels));
  out.file_managed = channels.has("hosted");
  read_hosted(channels, out);
  YAML::Emitter text;
  text << slipway.raw("channels");
  out.written = text.c_str();
}

}  // namespace slipway

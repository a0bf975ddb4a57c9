// There it is a program of its own, with its own file; here it is a part of the node, which knows most of what that file says.
#include "node/config_manager.h"

#include <fmt/format.h>

#include "channel_manager/channel_manager_bounds.h"
#include "edge/did_key.h"
#include "node/config_services.h"

namespace slipway {

namespace {

// What stands elsewhere in this node's file.
struct Moved {
  const char* key;
  const char* where;
};
constexpr Moved kMoved[] = {
    {"auth", "who the node is as an application stands in `slipway.channels.identity`"},
    {"approval-auth", "owners are asked with the identity of `slipway.channels.identity`"},
    {"channels", "channels with their members stand in `slipway.channels.hosted`"},
    {"persistence", "channels are kept by `slipway.channels.store` and `key_file`"},
};

}  // namespace

void read_channel_manager(YamlSection& top, ChannelManagerSettings& out) {
  if (!top.has("channel-manager")) {
    return;
  }
  auto section = top.section("channel-manager");
  out.on = true;
  out.line = section.line();
  for (const auto& moved : kMoved) {
    if (section.has(moved.key)) {
      section.fail(moved.key, moved.where);
    }
  }
  if (!section.has("api-server")) {
    section.reader().fail_line(section.line(), "`api-server` is missing: where `slimctl channel-manager` connects");
    return;
  }
  auto entry = section.section("api-server");
  auto server = read_edge_server(entry);
  if (server.websocket) {
    entry.fail("endpoint", "the channel manager is gRPC: write ADDRESS:PORT or unix://PATH");
  }
  server.written = YAML::Dump(section.raw("api-server"));
  out.servers.push_back(std::move(server));
  out.local_name = section.text("local-name", "");
  out.audience = section.text("audience", "");
  out.require_signatures = section.boolean("require-signatures", false);
  section.each_text("operators", [&](const std::string& text, const YAML::Node& at) {
    if (!ed25519_of_did_key(text)) {
      section.reader().fail(at, fmt::format("`{}` is no did:key of an Ed25519 key: `slimctl channel-manager did-key` shows it", text));
    }
    out.operators.push_back(text);
  });
  if (out.operators.size() > kManagerOperators) {
    section.fail("operators", fmt::format("{}; at most {} are taken", out.operators.size(), kManagerOperators));
  }
}

}  // namespace slipway

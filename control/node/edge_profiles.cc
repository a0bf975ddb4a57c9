#include "node/edge_profiles.h"

#include <fmt/format.h>

#include "edge/auth_basic.h"
#include "edge/uuid.h"

namespace slipway {

namespace {

NegotiationConfig negotiation_of(const EdgeSettings& edge, const NodeSettings& node) {
  NegotiationConfig out;
  out.node_id = node.node_id;
  out.deployment_name = node.deployment;
  out.strict = edge.strict_mac;
  out.enforce_pqc = node.enforce_pqc;
  return out;
}

// Credentials that do not change are part of the request; others are made for each connection (with_credentials).
std::expected<void, std::string> add_credentials(const EdgeClientSettings& client, TransportConfig& config, EdgeProfile& profile) {
  using Kind = EdgeAuthSettings::Kind;
  const auto& auth = client.auth;
  if (auth.kind == Kind::kBasic) {
    config.headers.push_back({"authorization", basic_authorization(auth.user, auth.password)});
  } else if (auth.kind == Kind::kJwt) {
    auto keys = load_auth_keys(auth.key, true);
    if (!keys) {
      return std::unexpected(fmt::format("{}: {}", client.endpoint, keys.error()));
    }
    profile.signer = std::make_shared<const JwtSigner>(std::move(keys->front()), auth.claims);
  } else if (auth.kind == Kind::kStaticJwt) {
    profile.token_file = auth.token_file;
  }
  return {};
}

std::expected<std::shared_ptr<const AuthGuard>, std::string> guard_of(const EdgeServerSettings& server) {
  using Kind = EdgeAuthSettings::Kind;
  const auto& auth = server.auth;
  if (auth.kind == Kind::kBasic) {
    return std::make_shared<BasicGuard>(auth.user, auth.password);
  }
  if (auth.kind != Kind::kJwt) {
    return std::shared_ptr<const AuthGuard>{};
  }
  auto keys = load_auth_keys(auth.key, false);
  if (!keys) {
    return std::unexpected(fmt::format("{}: {}", server.endpoint, keys.error()));
  }
  return std::make_shared<JwtGuard>(std::move(*keys), auth.rules);
}

std::expected<std::shared_ptr<const TlsContext>, std::string> tls_of(const EdgeSettings& edge, bool secure, const TlsOptions& options) {
  if (!secure) {
    return std::shared_ptr<const TlsContext>{};
  }
  auto context = TlsContext::load(options);
  if (!context) {
    return std::unexpected(fmt::format("{}: {}", edge.endpoint, context.error()));
  }
  return *context;
}

std::shared_ptr<EdgeProfile> profile_of(const EdgeSettings& edge, TransportConfig config, NegotiationConfig negotiation, std::string link_id) {
  config.protocol = edge.websocket ? TransportProtocol::kWebSocket : TransportProtocol::kGrpc;
  config.path = edge.websocket ? edge.path : kOpenChannelPath;
  config.max_message_bytes = edge.websocket ? kMaxFrameBytes : kMaxGrpcMessageBytes;
  config.max_streams = 1;
  config.keepalive_time_ms = edge.keepalive_time_ms;
  config.keepalive_timeout_ms = edge.keepalive_timeout_ms;
  auto out = std::make_shared<EdgeProfile>();
  out->transport = std::make_shared<const TransportConfig>(std::move(config));
  out->negotiation = std::move(negotiation);
  out->link_id = std::move(link_id);
  out->tcp = edge.address.kind == SocketKind::kTcp;
  return out;
}

}  // namespace

std::expected<std::shared_ptr<const EdgeProfile>, std::string> make_edge_profile(const EdgeServerSettings& server, const NodeSettings& node) {
  auto tls = tls_of(server, server.secure, server.tls);
  if (!tls) {
    return std::unexpected(tls.error());
  }
  TransportConfig config;
  config.tls = *tls;
  auto guard = guard_of(server);
  if (!guard) {
    return std::unexpected(guard.error());
  }
  config.guard = std::move(*guard);
  config.max_frame_bytes = server.max_frame_bytes;
  config.max_header_bytes = server.max_header_bytes;
  config.max_age_ms = server.max_age_ms;
  // Of the first entry, for the whole node: as upstream has it.
  const auto& first = node.edge_servers.empty() ? server : node.edge_servers.front();
  auto negotiation = negotiation_of(first, node);
  negotiation.timeout_ms = first.negotiation_timeout_ms;
  return profile_of(server, std::move(config), std::move(negotiation), {});
}

std::expected<std::shared_ptr<const EdgeProfile>, std::string> make_edge_profile(const EdgeClientSettings& client, const NodeSettings& node) {
  auto tls = tls_of(client, client.secure, client.tls);
  if (!tls) {
    return std::unexpected(tls.error());
  }
  TransportConfig config;
  config.role = TransportRole::kClient;
  config.tls = *tls;
  const bool unix_socket = client.address.kind == SocketKind::kUnix;
  const bool brackets = client.host.find(':') != std::string::npos;
  const std::string host = unix_socket ? "localhost" : fmt::format(fmt::runtime(brackets ? "[{}]:{}" : "{}:{}"), client.host, client.address.ip.port);
  config.scheme = unix_socket ? "unix" : client.secure ? "https" : "http";
  config.authority = client.origin.empty() ? host : client.origin;
  config.server_name = client.server_name.empty() ? client.host : client.server_name;
  for (const auto& [name, value] : client.headers) {
    config.headers.push_back({name, value});
  }
  if (client.proxy) {
    auto proxy_tls = tls_of(client, client.proxy_secure, client.proxy_tls);
    if (!proxy_tls) {
      return std::unexpected("proxy of " + proxy_tls.error());
    }
    auto tunnel = client.tunnel;
    tunnel.target = host;
    tunnel.tls = std::move(*proxy_tls);
    config.proxy = std::make_shared<const ProxyTunnel>(std::move(tunnel));
  }
  EdgeProfile credentials;
  if (auto added = add_credentials(client, config, credentials); !added) {
    return std::unexpected(added.error());
  }
  auto out = profile_of(client, std::move(config), negotiation_of(client, node), client.link_id.empty() ? random_uuid() : client.link_id);
  out->signer = std::move(credentials.signer);
  out->token_file = std::move(credentials.token_file);
  return out;
}

std::expected<std::shared_ptr<const EdgeProfile>, std::string> with_credentials(const std::shared_ptr<const EdgeProfile>& profile, std::int64_t unix_s) {
  if (profile->signer == nullptr && profile->token_file.empty()) {
    return profile;
  }
  auto credentials = profile->signer ? profile->signer->authorization(unix_s) : static_token_authorization(profile->token_file);
  if (!credentials) {
    return std::unexpected(credentials.error());
  }
  auto config = std::make_shared<TransportConfig>(*profile->transport);
  config->headers.push_back({"authorization", std::move(*credentials)});
  auto out = std::make_shared<EdgeProfile>(*profile);
  out->transport = std::move(config);
  return out;
}

}  // namespace slipway

// HTTP proxies that connections of `clients` go through.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "edge/auth_basic.h"
#include "node/config.h"
#include "node/config_edge.h"

namespace slipway {

namespace {

std::string variable(std::string_view name) {
  std::string upper(name);
  std::ranges::transform(upper, upper.begin(), [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  for (const auto& one : {std::string(name), upper}) {
    if (const char* value = std::getenv(one.c_str()); value != nullptr && *value != '\0') {
      return value;
    }
  }
  return {};
}

std::string without_port(std::string_view entry) {
  if (entry.starts_with('[')) {
    return std::string(entry.substr(1, entry.find(']') - 1));
  }
  const auto colon = entry.rfind(':');
  return std::string(entry.substr(0, entry.find(':') == colon ? colon : std::string_view::npos));
}

// Whether one entry of no_proxy is this host: `*`, a network, an address, a name or the end of one.
bool names(std::string_view entry, const SocketAddress& host) {
  if (entry == "*") {
    return true;
  }
  if (host.host.empty()) {
    if (const auto network = parse_ip_prefix(entry)) {
      return network->contains(address_of(host.ip));
    }
    return without_port(entry) == to_text(address_of(host.ip));
  }
  auto name = without_port(entry);
  if (name.starts_with('.')) {
    name.erase(0, 1);
  }
  if (name.empty() || host.host.size() < name.size()) {
    return false;
  }
  const auto before = host.host.size() - name.size();
  return host.host.compare(before, std::string::npos, name) == 0 && (before == 0 || host.host[before - 1] == '.');
}

bool excepted(const SocketAddress& host) {
  const auto list = variable("no_proxy");
  std::string_view rest = list;
  while (!rest.empty()) {
    auto entry = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), entry.size() + 1));
    while (!entry.empty() && entry.front() == ' ') {
      entry.remove_prefix(1);
    }
    while (!entry.empty() && entry.back() == ' ') {
      entry.remove_suffix(1);
    }
    if (!entry.empty() && names(entry, host)) {
      return true;
    }
  }
  return false;
}

// http://[USER:PASSWORD@]HOST[:PORT][/], or https://. Returns what is wrong, or nothing.
std::string take_url(std::string_view url, EdgeClientSettings& client) {
  client.proxy_secure = url.starts_with("https://");
  if (const auto scheme = url.find("://"); scheme != std::string_view::npos) {
    if (!client.proxy_secure && !url.starts_with("http://")) {
      return "write http://HOST:PORT or https://HOST:PORT";
    }
    url.remove_prefix(scheme + 3);
  }
  url = url.substr(0, url.find('/'));
  if (const auto at = url.rfind('@'); at != std::string_view::npos) {
    const auto who = url.substr(0, at);
    const auto colon = who.find(':');
    client.tunnel.authorization = basic_authorization(who.substr(0, colon), colon == std::string_view::npos ? "" : who.substr(colon + 1));
    url.remove_prefix(at + 1);
  }
  std::string place(url);
  if (place.rfind(':') == std::string::npos || place.ends_with(']')) {
    place += client.proxy_secure ? ":443" : ":80";
  }
  auto address = parse_connect_address("tcp://" + place);
  if (!address) {
    return address.error();
  }
  client.proxy = *address;
  client.tunnel.server_name = without_port(place);
  return {};
}

}  // namespace

void read_proxy(YamlSection& entry, EdgeClientSettings& client) {
  if (client.address.kind == SocketKind::kUnix) {
    if (entry.has("proxy")) {
      entry.fail("proxy", "a Unix socket is reached without");
    }
    return;
  }
  auto proxy = entry.section("proxy");
  const auto url = proxy.text("url", "");
  if (!url.empty()) {
    if (const auto wrong = take_url(url, client); !wrong.empty()) {
      proxy.fail("url", wrong);
      return;
    }
  } else {
    auto usual = variable(client.secure ? "https_proxy" : "http_proxy");
    if (usual.empty()) {
      usual = variable("all_proxy");
    }
    if (!usual.empty() && !excepted(client.address)) {
      if (const auto wrong = take_url(usual, client); !wrong.empty()) {
        entry.reader().fail_line(client.line, fmt::format("the proxy that the environment names: {}; or except the host by no_proxy", wrong));
      }
    }
  }
  const bool secure = read_tls(proxy.section("tls"), false, client.proxy_tls);
  client.proxy_tls.alpn = "http/1.1";
  if (client.proxy_secure && !secure) {
    proxy.fail("tls", "`insecure` contradicts the proxy's https://: write http://, or take it out");
  }
  if (const auto user = proxy.text("username", ""); !user.empty()) {
    client.tunnel.authorization = basic_authorization(user, proxy.text("password", ""));
  }
  if (const auto headers = proxy.raw("headers"); proxy.has("headers") && !headers.IsMap()) {
    proxy.fail("headers", "must be a section of `name: value` lines");
  } else if (proxy.has("headers")) {
    for (const auto& header : headers) {
      if (header.first.IsScalar() && header.second.IsScalar()) {
        client.tunnel.headers.push_back({header.first.Scalar(), header.second.Scalar()});
      }
    }
  }
}

}  // namespace slipway

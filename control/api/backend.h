#pragma once
// What the control API asks of the node. The node implements it; tests have a fake. Control thread.

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>

#include "api/http_server.h"
#include "api/rows.h"
#include "base/messages.h"
#include "channel/channels.h"
#include "frame/name.h"

namespace slipway {

struct ApiFault {
  int status = 400;
  std::string error;
  std::string remedy;  // what to try
};

struct WatchRequest {
  TraceFilter filter;
  std::uint64_t limit_bytes = 64u << 20;  // capture
  std::uint64_t limit_ms = 60'000;
};

class ApiBackend {
 public:
  virtual ~ApiBackend() = default;
  virtual VersionRow version() = 0;
  virtual StatusRow status() = 0;
  virtual std::vector<PortRow> ports() = 0;
  virtual std::vector<ListenerRow> listeners() = 0;
  virtual LinksPage links(std::uint32_t after, std::uint32_t at_most) = 0;
  virtual RoutesPage routes(std::uint32_t after, std::uint32_t at_most, std::optional<std::uint32_t> link, const std::optional<TextName>& prefix) = 0;
  virtual std::expected<ExplainRow, ApiFault> explain(const TextName& name, std::uint32_t from, std::uint32_t hop_limit) = 0;
  virtual std::vector<DropRow> drops() = 0;
  virtual BooksPage books() = 0;
  virtual std::vector<WorkerRow> workers() = 0;
  virtual MemoryRow memory() = 0;
  virtual ConfigRow config() = 0;
  virtual ControlCounters control_counters() = 0;
  virtual std::string unhealthy() = 0;  // why, or empty

  virtual Channels* channels() = 0;     // null: this node hosts none

  virtual void stop(std::optional<std::uint32_t> drain_ms) = 0;
  virtual ReloadRow reload() = 0;
  virtual std::expected<void, ApiFault> set_log_level(const std::string& level) = 0;
  // `to` is the name of a `connect` entry, or the number of a link.
  virtual std::expected<void, ApiFault> route(bool add, const TextName& name, const std::string& to) = 0;
  virtual std::expected<void, ApiFault> close_link(std::uint32_t link) = 0;
  virtual std::expected<std::shared_ptr<ResponseStream>, ApiFault> trace(const WatchRequest& request) = 0;
  virtual std::expected<std::shared_ptr<ResponseStream>, ApiFault> capture(const WatchRequest& request) = 0;
};

}  // namespace slipway

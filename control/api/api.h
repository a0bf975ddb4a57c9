#pragma once
// The control API: which request is which question to the node. Errors are a status and
// {"error": "...", "try": "..."}. Pure apart from its backend; control thread.

#include "api/backend.h"

namespace slipway {

class Api {
 public:
  explicit Api(ApiBackend& backend) : backend_(backend) {}
  HttpResponse handle(const HttpRequest& request);

 private:
  ApiBackend& backend_;
};

// Prometheus and OpenMetrics text of every counter there is.
std::string open_metrics(ApiBackend& backend);

// One line of a trace stream.
std::string trace_line(const Traced& traced, std::span<const std::byte> header, const std::string& destination_text);

}  // namespace slipway

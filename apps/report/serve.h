#pragma once
#include <memory>
#include <string>
#include <vector>

#include "apps/report/report.h"
#include "space/base/result.h"

namespace nas::report {

struct ServeOptions {
  ReportOptions report;
  std::string host = "127.0.0.1";
  int port = 8080;                      // 0: any free one
  std::string token = {};               // asked of every request when set; needed beyond loopback
  std::vector<std::string> names = {};  // further Host names that are answered
  double deadline_s = 10;               // of one connection, reading and writing
};

// "127.0.0.1:8080", "localhost:0", "[::1]:8080", ":8080" (loopback) or "8080".
Result<void> parse_bind(const std::string& text, ServeOptions& options);
bool is_loopback(const std::string& host);

// The report's page over HTTP, always up to date: GET / and GET /api/v1/report?since=CURSOR, nothing else.
// Reads only. Answers requests whose Host is its own address (a name that was bent to this machine is
// refused), closes a connection after one answer or at its deadline, and refuses bodies and long headers.
class LiveServer {
 public:
  // Listens when it returns. Fails (usage) on an address beyond loopback without a token.
  static Result<LiveServer> start(ServeOptions options);
  int port() const;
  // Until stop() is called.
  void wait();
  void stop();

  LiveServer(LiveServer&&) noexcept;
  ~LiveServer();

 private:
  struct Impl;
  explicit LiveServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nas::report

// The parts of dbos_bench.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace bench {

// --- floors: what the database does with the same rows without us (rows or workflows a second)
double postgres_sequential(const std::string& url, int seconds);
double postgres_batched(const std::string& url, int seconds);
double sqlite_steps(int batch, int rows);

/// A fresh database on the server of `server_url`; its URL. Dropped by drop_database().
std::string create_database(const std::string& server_url, const std::string& name);
void drop_database(const std::string& server_url, const std::string& name);
/// Empties the tables, so that no figure is measured on the rows of another.
void empty_tables(const std::string& url);

// --- ours, through the public API
struct Latency {
    double p50_ms = 0;
    double p99_ms = 0;
};
/// Steps a second of one workflow that does nothing else.
double sequential_steps(const std::string& url, double seconds);
/// One-step workflows a second, started and awaited, `in_flight` at a time.
double one_step_workflows(const std::string& url, int in_flight, double seconds);
/// Steps a second of 64 workflows of 10 steps at a time.
double many_steps(const std::string& url, int in_flight, double seconds);
/// From Client::enqueue to the result, with an idle worker.
Latency enqueue_to_result(const std::string& url, int samples);

/// An application with the queue "bench".
class Busy {
   public:
    explicit Busy(const std::string& url);
    ~Busy();
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;
    /// One-step workflows a second, 64 in flight.
    double flood(int seconds) const;

   private:
    struct App;
    std::unique_ptr<App> app_;
};

/// What it costs that so many results are waited for, none of which comes.
struct Waits {
    double mib = 0;               // resident, of these waits
    double idle_statements = 0;   // a second, of their client, while nothing happens
    double busy_statements = 0;   // the same while an application ends other workflows
    double others = 0;            // so many a second
    double all_told_seconds = 0;  // from the first cancel until all have ended
};
Waits waiting_futures(const std::string& url, int futures, int seconds);

double median(std::vector<double> values);

}  // namespace bench

// threads.cc: a C++ program as programs are: threads, mutexes, condition variables, exceptions that cross
// functions and threads, thread-local objects, and containers that all threads allocate from one heap.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <future>
#include <iostream>
#include <map>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace
{

constexpr int kThreads = 8, kItems = 20000;

[[noreturn]] void failed(const std::string &what)
{
    std::cout << what << std::endl;
    std::_Exit(EXIT_FAILURE);
}

// A queue of at most `room` items: both ends wait.
class Queue
{
  public:
    void put(int item)
    {
        std::unique_lock lock(mutex_);
        not_full_.wait(lock, [&] { return items_.size() < 16; });
        items_.push_back(item);
        not_empty_.notify_one();
    }

    int get()
    {
        std::unique_lock lock(mutex_);
        not_empty_.wait(lock, [&] { return !items_.empty(); });
        int item = items_.front();
        items_.pop_front();
        not_full_.notify_one();
        return item;
    }

  private:
    std::mutex mutex_;
    std::condition_variable not_full_, not_empty_;
    std::deque<int> items_;
};

void queue_hands_over_everything()
{
    Queue queue;
    std::atomic<int64_t> sum{0};
    std::vector<std::thread> threads;

    for (int i = 0; i < kThreads / 2; i++) {
        threads.emplace_back([&, i] {
            for (int item = i; item < kItems; item += kThreads / 2)
                queue.put(item);
            queue.put(-1);
        });
        threads.emplace_back([&] {
            for (int item; (item = queue.get()) >= 0;)
                sum += item;
        });
    }
    for (auto &thread : threads)
        thread.join();
    if (sum != int64_t{kItems} * (kItems - 1) / 2)
        failed("the queue lost something: " + std::to_string(sum));
}

int thrown_at_depth(int depth)
{
    std::string kept = "unwound " + std::to_string(depth); // has a destructor
    if (depth == 0)
        throw std::runtime_error("from the bottom");
    return thrown_at_depth(depth - 1) + static_cast<int>(kept.size());
}

void exceptions_cross_threads()
{
    for (int i = 0; i < 50; i++) {
        auto result = std::async(std::launch::async, thrown_at_depth, i);
        try {
            result.get();
            failed("no exception came");
        } catch (const std::runtime_error &error) {
            if (error.what() != std::string("from the bottom"))
                failed("another exception came");
        }
    }
}

std::atomic<int> destroyed{0};
struct Local {
    int value = 0;
    ~Local()
    {
        destroyed++;
    }
};
thread_local Local local;

void locals_are_of_a_thread()
{
    std::vector<std::thread> threads;

    for (int i = 1; i <= kThreads; i++)
        threads.emplace_back([i] {
            for (int round = 0; round < 1000; round++)
                local.value += i;
            if (local.value != 1000 * i)
                failed("a thread-local object was another thread's");
        });
    for (auto &thread : threads)
        thread.join();
    if (destroyed != kThreads)
        failed("thread-local objects were not destroyed");
}

void heap_is_shared()
{
    std::vector<std::thread> threads;
    std::vector<uint64_t> sums(kThreads);

    for (int i = 0; i < kThreads; i++)
        threads.emplace_back([&sums, i] {
            std::map<int, std::vector<int>> lists;
            for (int item = 0; item < 4000; item++)
                lists[(item * 37 + i) % 101].push_back(item);
            for (auto &[key, list] : lists)
                sums[i] += std::accumulate(list.begin(), list.end(), uint64_t{0});
        });
    for (auto &thread : threads)
        thread.join();
    if (std::any_of(sums.begin(), sums.end(), [](uint64_t sum) { return sum != 4000ull * 3999 / 2; }))
        failed("the heap gave one piece twice");
}

} // namespace

int main()
{
    queue_hands_over_everything();
    exceptions_cross_threads();
    locals_are_of_a_thread();
    heap_is_shared();
    std::cout << "ok" << std::endl;
}

package bench

// ConnectResult is what [Connect] measured. Common's Opening is that of all rounds together; of its
// processor times, Client and Server are those of opening only.
type ConnectResult struct {
	Common
	RatePerSecond float64 `json:"rate_per_second,omitempty"`
	PauseSeconds  float64 `json:"pause_seconds"`
	Rounds        int     `json:"rounds"`
	// Latency counts from connect, or at a given rate from when a connection was due, until the answer
	// to the upgrade was checked. DialDelay is how much of it had passed before the client connected,
	// for its own slowness or because so many others were under way.
	Latency   Percentiles  `json:"latency"`
	Curve     []CurvePoint `json:"latency_curve,omitempty"`
	DialDelay *Percentiles `json:"dial_delay,omitempty"`
	Closing   Closing      `json:"closing"`
}

// Closing tells how the connections closed, of all rounds together.
type Closing struct {
	Closed int `json:"closed"` // by the server, after our close frame
	// Unclosed connections were still there a second after our close frame, and closed by the client.
	Unclosed    int     `json:"unclosed,omitempty"`
	Seconds     float64 `json:"seconds"` // pauses left out
	ClientCPUUs float64 `json:"client_cpu_us_per_conn"`
	ServerCPUUs float64 `json:"server_cpu_us_per_conn,omitempty"` // what else it did meanwhile included
}

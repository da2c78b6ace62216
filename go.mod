module github.com/stillpool/stillpool

go 1.26.0

require (
	github.com/mailru/easygo v0.0.0-20190618140210-3c14a0dc985f
	golang.org/x/sys v0.49.0
)

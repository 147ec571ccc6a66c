// Package utils is a hub.
package utils
